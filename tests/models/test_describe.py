"""Network summaries, as `tfseg check` prints them."""

import math

import keras
import pytest
from keras import layers as kl

from tests.models.conftest import LABELS, SMALL
from tfseg.backbones import Applications, SmallCnn
from tfseg.models import Segmenter, describe
from tfseg.models.decoders import Fcn
from tfseg.symbolic import symbolically


def test_summary_of_a_network() -> None:
    model = SMALL["vgg16_original"]().build(LABELS)
    description = describe(model)
    assert description.parameters == model.count_params()
    assert str(description) == (
        "parameters       35,837 (33,233 trainable, 2,604 non-trainable)\n"
        "output stride    32\n"
        "receptive field  404 pixels\n"
        "output           [batch, height, width, 3]"
    )


def test_receptive_field_of_mobilenet_v2() -> None:
    assert describe(SMALL["mobilenet_v2"]().build(LABELS)).receptive_field == 491


def test_output_stride_of_a_dilated_network() -> None:
    assert describe(SMALL["dilated"]().build(LABELS)).output_stride == 8


def test_unbounded_receptive_fields() -> None:
    image = keras.Input((None, None, 3), name="image")
    x = kl.Conv2D(2, 3, 2, "same")(image)
    mean = kl.GlobalAveragePooling2D(keepdims=True)(x)
    description = describe(keras.Model(image, kl.Multiply()([x, mean])))
    assert (description.output_stride, description.receptive_field) == (2, math.inf)
    assert "receptive field  unbounded" in str(description)


def test_layers_of_unknown_type() -> None:
    """The receptive field is unknown, and the stride is derived from the input and output sizes of the layer."""
    image = keras.Input((None, None, 3), name="image")
    x = kl.SeparableConv2D(2, 3, 2, "same")(kl.UnitNormalization()(image))
    x = kl.Conv2D(3, 3, 2, "same")(Subsampled()(x))
    description = describe(keras.Model(image, x))
    assert (description.output_stride, description.receptive_field) == (8, None)
    assert "receptive field  unknown" in str(description)


class Subsampled(kl.Layer):
    def call(self, x):
        return x[:, ::2, ::2]


def test_layers_whose_positions_depend_on_the_image_size() -> None:
    """With stride 2, `same` padding of a window of 3 depends on the parity of the size; that of a window of 2 does
    not."""
    image = keras.Input((None, None, 3), name="image")
    x = kl.Conv2D(2, 3, 1, "same")(kl.MaxPooling2D(2, 2, "same")(image))
    assert describe(keras.Model(image, x)).size_dependent == ()
    x = kl.Conv2D(2, 3, 2, "same", name="second")(kl.MaxPooling2D(3, 2, "same", name="first")(x))
    description = describe(keras.Model(image, kl.Conv2DTranspose(2, 4, 2, "same")(x)))
    assert description.size_dependent == ("first", "second")
    assert str(description).endswith(
        "note             positions depend on the image size because of the padding of first and 1 more; "
        "use image sizes with the same remainder modulo 8"
    )


def test_grid_of_padded_images() -> None:
    description = describe(Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16, 8))).build(LABELS))
    assert (description.grid, description.size_dependent) == ((16, 0), ())
    assert str(description).endswith("grid             images are padded to multiples of 16 pixels")


@pytest.mark.parametrize(
    "name",
    [
        "EfficientNetV2B0",
        pytest.param("ConvNeXtTiny", marks=pytest.mark.slow),
        pytest.param("MobileNetV3Small", marks=pytest.mark.slow),
    ],
)
def test_output_stride_of_keras_applications(name: str) -> None:
    spec = Segmenter(backbone=Applications(name=name), decoder=Fcn(strides=(32,)))
    description = symbolically(lambda: describe(spec.build(LABELS)))
    assert description.output_stride == 32
    assert description.receptive_field in (None, math.inf)
