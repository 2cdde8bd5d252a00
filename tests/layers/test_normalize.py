"""Pixel normalization, against the preprocessing functions of Keras Applications."""

import re

import keras
import numpy as np
import pytest

from tfseg.layers import Normalize

IMAGE = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3)).astype("uint8")


@pytest.mark.parametrize("mode", ["tf", "torch"])
def test_modes_match_keras_applications(mode: str) -> None:
    expected = keras.applications.imagenet_utils.preprocess_input(IMAGE.astype("float32"), mode=mode)
    np.testing.assert_allclose(Normalize(mode)(IMAGE), expected, atol=2e-6)


def test_caffe_mode_subtracts_the_mean_of_fcn_in_bgr() -> None:
    expected = IMAGE[..., ::-1].astype("float32") - np.array([104.00699, 116.66877, 122.67892], "float32")
    np.testing.assert_array_equal(Normalize("caffe")(IMAGE), expected)
    theirs = keras.applications.imagenet_utils.preprocess_input(IMAGE.astype("float32"), mode="caffe")
    difference = Normalize("caffe")(IMAGE) - theirs  # Keras subtracts the mean of VGG: 103.939, 116.779, 123.68
    np.testing.assert_allclose(difference[0, 0, 0], [-0.06799, 0.11023, 1.00108], atol=1e-4)


def test_custom_mean_and_scale() -> None:
    layer = Normalize(mean=(1, 2, 3), scale=0.5, reverse=True)
    np.testing.assert_allclose(layer(IMAGE), (IMAGE[..., ::-1] - np.array([1.0, 2, 3])) / 2, atol=1e-5)
    np.testing.assert_array_equal(Normalize()(IMAGE), IMAGE)


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_tf_mode_accepts_any_number_of_channels(channels: int) -> None:
    y = Normalize("tf")(np.full((1, 2, 2, channels), 255, "uint8"))
    assert np.all(np.asarray(y) == 1)


def test_pixels_are_not_rounded_before_the_mean_is_subtracted() -> None:
    """130.3 is 130.0 in bfloat16; after subtracting 127.5, the error is an eighth of the value."""
    pixel = np.full((1, 1, 1, 1), 130.3, "float32")
    y = Normalize(mean=127.5, dtype="mixed_bfloat16")(pixel)
    assert y.dtype == "bfloat16"
    assert float(keras.ops.squeeze(y)) == pytest.approx(2.8, rel=4e-3)


def test_integer_and_float_images_give_equal_results() -> None:
    image = keras.Input((None, None, 3))
    model = keras.Model(image, Normalize("caffe")(image))
    one, other = (model.predict(IMAGE.astype(dtype), verbose=0) for dtype in ("uint8", "float32"))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "vgg"}, '`mode` must be "caffe", "tf", "torch" or None. Received: mode=\'vgg\''),
        (
            {"mode": "tf", "mean": 3.0},
            "`mean`, `scale` and `reverse` require `mode=None`, because each mode defines its own. "
            "Received: mode='tf', mean=3.0, scale=None, reverse=False",
        ),
    ],
)
def test_invalid_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Normalize(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"mode": "caffe"},
            "Expected an input of 3 channels, one per value of `mean` of mode='caffe'. "
            "Received: input_shape=(1, 2, 2, 1)",
        ),
        (
            {"scale": [1.0, 2.0]},
            "Expected an input of 2 channels, one per value of `scale`. Received: input_shape=(1, 2, 2, 1)",
        ),
    ],
)
def test_values_must_match_the_channels(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Normalize(**arguments)(np.zeros((1, 2, 2, 1)))
