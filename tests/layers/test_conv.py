"""AtrousConv2D is keras.layers.Conv2D, computed in another way."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.checks import run_tflite, tflite
from tfseg.layers import AtrousConv2D, ResizeLike

X = np.random.default_rng(0).normal(size=(2, 30, 33, 4)).astype("float32")

ARGUMENTS: list[dict[str, Any]] = [
    {"dilation_rate": 2, "padding": "same"},
    {"dilation_rate": 12, "padding": "same", "activation": "relu", "use_bias": False},
    {"dilation_rate": (1, 4), "padding": "valid"},
    {"dilation_rate": 1, "strides": 2, "padding": "same"},
    {"dilation_rate": 2, "groups": 2, "padding": "same"},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_numbers_and_gradients_are_those_of_conv2d(arguments: dict[str, Any]) -> None:
    ours, theirs = AtrousConv2D(6, 3, **arguments), keras.layers.Conv2D(6, 3, **arguments)
    ours.build(X.shape)
    theirs.build(X.shape)
    ours.set_weights(theirs.get_weights())
    results = []
    for layer in (ours, theirs):
        x = tf.constant(X)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            total = tf.reduce_mean(y**2)
        results.append([y, *tape.gradient(total, [x, *(weight.value for weight in layer.trainable_weights)])])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_channels_first_is_what_keras_does() -> None:
    arguments = {"dilation_rate": 2, "data_format": "channels_first"}
    ours, theirs = AtrousConv2D(6, 3, **arguments), keras.layers.Conv2D(6, 3, **arguments)
    x = np.moveaxis(X, -1, 1)
    ours.build(x.shape)
    theirs.build(x.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)


@pytest.mark.parametrize("size", [64, 65])
def test_a_pyramid_in_tflite_has_plain_convolutions_only(size: int) -> None:
    """No dilated convolution leaves `SPACE_TO_BATCH_ND` in a file of static size."""
    image = keras.Input((size, size, 3), 1)
    branches = [AtrousConv2D(4, 3, dilation_rate=rate, padding="same")(image) for rate in (6, 12, 18)]
    model = keras.Model(image, ResizeLike()([keras.layers.Add()(branches), image]))
    x = np.random.default_rng(1).normal(size=(1, size, size, 3)).astype("float32")
    (found,), names = run_tflite(tflite(model), [x])
    np.testing.assert_allclose(found, model(x), atol=1e-5)
    assert sorted(set(names)) == ["ADD", "CONV_2D", "RESIZE_BILINEAR"]
    assert names.count("CONV_2D") == 3


@pytest.mark.skipif(tf.__version__ < "2.21", reason="older converters leave a dilated depthwise convolution in parts")
def test_a_dilated_depthwise_convolution_is_one_operation_in_tflite() -> None:
    image = keras.Input((65, 65, 3), 1)
    model = keras.Model(image, keras.layers.DepthwiseConv2D(3, padding="same", dilation_rate=2)(image))
    assert run_tflite(tflite(model), [np.zeros((1, 65, 65, 3), "float32")])[1] == ["DEPTHWISE_CONV_2D"]


def test_a_tflite_file_of_unknown_size_has_one_operation_where_keras_has_several() -> None:
    def names(kind: type[keras.layers.Conv2D]) -> list[str]:
        image = keras.Input((None, None, 3), 1)
        model = keras.Model(image, kind(4, 3, dilation_rate=2, padding="same")(image))
        x = np.zeros((1, 1, 1, 3), "float32")
        return run_tflite(tflite(model), [x])[1]

    assert names(AtrousConv2D) == ["CONV_2D"]
    assert {"SPACE_TO_BATCH_ND", "CONV_2D", "BATCH_TO_SPACE_ND"} <= set(names(keras.layers.Conv2D))
