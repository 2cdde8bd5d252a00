"""The numbers that `tfseg check` prints."""

import keras
from keras import layers as kl

from tests.models.conftest import LABELS, SMALL
from tfseg.models import describe


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
    assert (description.output_stride, description.receptive_field) == (2, None)
    assert "receptive field  unbounded" in str(description)
