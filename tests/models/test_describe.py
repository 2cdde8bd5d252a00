"""The numbers that `tfseg check` prints."""

import math

import keras
import pytest
from keras import layers as kl

from tests.models.conftest import LABELS, SMALL
from tfseg.backbones import Applications, SmallCnn
from tfseg.models import Segmenter, describe
from tfseg.models.decoders import Fcn
from tfseg.symbolic import symbolically


def test_numbers_of_a_net() -> None:
    model = SMALL["vgg16_original"]().build(LABELS)
    description = describe(model)
    assert description.parameters == model.count_params()
    assert str(description) == (
        "parameters       35,837 (33,233 trainable, 2,604 fixed)\n"
        "output stride    32\n"
        "receptive field  404 pixels\n"
        "output           [batch, height, width, 3]"
    )


def test_receptive_field_of_mobilenet_v2() -> None:
    assert describe(SMALL["mobilenet_v2"]().build(LABELS)).receptive_field == 491


def test_dilation_keeps_the_output_stride() -> None:
    assert describe(SMALL["dilated"]().build(LABELS)).output_stride == 8


def test_a_layer_that_sees_everything() -> None:
    image = keras.Input((None, None, 3), name="image")
    x = kl.Conv2D(2, 3, 2, "same")(image)
    mean = kl.GlobalAveragePooling2D(keepdims=True)(x)
    description = describe(keras.Model(image, kl.Multiply()([x, mean])))
    assert (description.output_stride, description.receptive_field) == (2, math.inf)
    assert "receptive field  unbounded" in str(description)


def test_a_layer_of_an_unknown_kind() -> None:
    """What it sees is unknown; the stride goes on by the sizes of its input and output."""
    image = keras.Input((None, None, 3), name="image")
    x = kl.SeparableConv2D(2, 3, 2, "same")(kl.UnitNormalization()(image))
    x = kl.Conv2D(3, 3, 2, "same")(Halved()(x))
    description = describe(keras.Model(image, x))
    assert (description.output_stride, description.receptive_field) == (8, None)
    assert "receptive field  unknown" in str(description)


class Halved(kl.Layer):
    def call(self, x):
        return x[:, ::2, ::2]


def test_positions_that_depend_on_the_size() -> None:
    """`same` pads a window of 3 at stride 2 by the parity of the size, one of 2 never; continued images have one."""
    image = keras.Input((None, None, 3), name="image")
    x = kl.Conv2D(2, 3, 1, "same")(kl.MaxPooling2D(2, 2, "same")(image))
    assert describe(keras.Model(image, x)).drifting == ()
    x = kl.Conv2D(2, 3, 2, "same", name="second")(kl.MaxPooling2D(3, 2, "same", name="first")(x))
    description = describe(keras.Model(image, kl.Conv2DTranspose(2, 4, 2, "same")(x)))
    assert description.drifting == ("first", "second")
    assert str(description).endswith(
        "note             positions depend on the size of the image, by the padding of first and 1 more; "
        "keep all sides at one remainder modulo 8"
    )


def test_continued_images() -> None:
    description = describe(Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16, 8))).build(LABELS))
    assert (description.grid, description.drifting) == ((16, 0), ())
    assert str(description).endswith("grid             images are continued to sides of 16 k pixels")


@pytest.mark.parametrize(
    "name",
    [
        "EfficientNetV2B0",
        pytest.param("ConvNeXtTiny", marks=pytest.mark.slow),
        pytest.param("MobileNetV3Small", marks=pytest.mark.slow),
    ],
)
def test_networks_of_keras_applications_have_their_stride(name: str) -> None:
    spec = Segmenter(backbone=Applications(name=name), decoder=Fcn(strides=(32,)))
    description = symbolically(lambda: describe(spec.build(LABELS)))
    assert description.output_stride == 32
    assert description.receptive_field in (None, math.inf)
