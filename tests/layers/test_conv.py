"""AtrousConv2D and AtrousSeparableConv2D, against the layers of Keras and explicit loops."""

import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.checks import run_tflite, tflite
from tests.layers.reference import convolved
from tfseg.layers import AtrousConv2D, AtrousSeparableConv2D, ResizeLike

X = np.random.default_rng(0).normal(size=(2, 30, 33, 4)).astype("float32")

ARGUMENTS: list[dict[str, Any]] = [
    {"dilation_rate": 2, "padding": "same"},
    {"dilation_rate": 12, "padding": "same", "activation": "relu", "use_bias": False},
    {"dilation_rate": (1, 4), "padding": "valid"},
    {"dilation_rate": 1, "strides": 2, "padding": "same"},
    {"dilation_rate": 2, "groups": 2, "padding": "same"},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_outputs_and_gradients_match_conv2d(arguments: dict[str, Any]) -> None:
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


def test_channels_first_matches_keras() -> None:
    arguments = {"dilation_rate": 2, "data_format": "channels_first"}
    ours, theirs = AtrousConv2D(6, 3, **arguments), keras.layers.Conv2D(6, 3, **arguments)
    x = np.moveaxis(X, -1, 1)
    ours.build(x.shape)
    theirs.build(x.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)


@pytest.mark.parametrize("size", [64, 65])
def test_atrous_convolutions_are_plain_convolutions_in_tflite(size: int) -> None:
    """No dilated convolution leaves `SPACE_TO_BATCH_ND` in a file of static size."""
    image = keras.Input((size, size, 3), 1)
    branches = [AtrousConv2D(4, 3, dilation_rate=rate, padding="same")(image) for rate in (6, 12, 18)]
    model = keras.Model(image, ResizeLike()([keras.layers.Add()(branches), image]))
    x = np.random.default_rng(1).normal(size=(1, size, size, 3)).astype("float32")
    (actual,), names = run_tflite(tflite(model), [x])
    np.testing.assert_allclose(actual, model(x), atol=1e-5)
    assert sorted(set(names)) == ["ADD", "CONV_2D", "RESIZE_BILINEAR"]
    assert names.count("CONV_2D") == 3


@pytest.mark.skipif(tf.__version__ < "2.21", reason="older converters split a dilated depthwise convolution")
def test_dilated_depthwise_convolution_is_one_operation_in_tflite() -> None:
    image = keras.Input((65, 65, 3), 1)
    model = keras.Model(image, keras.layers.DepthwiseConv2D(3, padding="same", dilation_rate=2)(image))
    assert run_tflite(tflite(model), [np.zeros((1, 65, 65, 3), "float32")])[1] == ["DEPTHWISE_CONV_2D"]


def test_atrous_convolution_is_one_operation_in_tflite_of_dynamic_size() -> None:
    def names(kind: type[keras.layers.Conv2D]) -> list[str]:
        image = keras.Input((None, None, 3), 1)
        model = keras.Model(image, kind(4, 3, dilation_rate=2, padding="same")(image))
        x = np.zeros((1, 1, 1, 3), "float32")
        return run_tflite(tflite(model), [x])[1]

    assert names(AtrousConv2D) == ["CONV_2D"]
    assert {"SPACE_TO_BATCH_ND", "CONV_2D", "BATCH_TO_SPACE_ND"} <= set(names(keras.layers.Conv2D))


def built(layer: keras.layers.Layer) -> keras.layers.Layer:
    layer.build((None, None, None, 4))
    for weight in layer.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    return layer


@pytest.mark.parametrize(
    ("size", "stride", "rate", "padding"),
    [(3, 1, 2, 2), (3, 1, 4, 1), (3, 2, 1, 1), (7, 2, 1, 3), (3, 1, 1, 100), (2, 3, 1, 1)],
)
def test_integer_padding_matches_caffe(size: int, stride: int, rate: int, padding: int) -> None:
    x = X[:1, :12, :15] if padding < 100 else X[:1, :3, :4]
    layer = built(AtrousConv2D(5, size, strides=stride, dilation_rate=rate, padding=padding))
    expected = convolved(x, *layer.get_weights(), rate=rate, padding=padding, stride=stride)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4)
    separable = built(AtrousSeparableConv2D(5, size, strides=stride, dilation_rate=rate, padding=padding))
    depthwise, pointwise, bias = separable.get_weights()
    full = np.zeros((size, size, 4, 4))
    full[:, :, range(4), range(4)] = depthwise[..., 0]
    expected = convolved(x, full, rate=rate, padding=padding, stride=stride) @ pointwise[0, 0] + bias
    np.testing.assert_allclose(separable(x), expected, rtol=1e-4, atol=1e-4)


def test_integer_padding_differs_from_same_with_strides() -> None:
    """At an even size, `same` pads only at the bottom and right."""
    ours, theirs = (built(AtrousConv2D(5, 3, strides=2, padding=padding)) for padding in (1, "same"))
    np.testing.assert_allclose(ours(X[:, :29, :33]), theirs(X[:, :29, :33]), atol=1e-5)
    assert np.any(np.abs(np.asarray(ours(X)) - theirs(X)) > 0.1)


def test_rows_and_columns_are_padded_separately() -> None:
    wide = built(AtrousConv2D(5, 3, padding=(0, 2)))
    assert wide(X).shape == (2, 28, 35, 5)
    np.testing.assert_allclose(
        wide(X), built(AtrousConv2D(5, 3))(np.pad(X, [(0, 0), (0, 0), (2, 2), (0, 0)])), atol=1e-5
    )


@pytest.mark.parametrize("arguments", [{"dilation_rate": 3, "padding": 1}, {"padding": (3, 2), "groups": 2}])
def test_channels_first_pads_the_spatial_axes(arguments: dict[str, Any]) -> None:
    last = built(AtrousConv2D(6, 3, **arguments))
    first = AtrousConv2D(6, 3, data_format="channels_first", **arguments)
    first.build((None, 4, None, None))
    first.set_weights(last.get_weights())
    symbolic = first(keras.Input((4, 30, 33)))
    np.testing.assert_allclose(np.moveaxis(first(np.moveaxis(X, -1, 1)), 1, -1), last(X), atol=1e-4)
    assert symbolic.shape == (None, 6, *last(X).shape[1:3])


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_separable_convolution_matches_keras(padding: str) -> None:
    arguments: dict[str, Any] = {"dilation_rate": 3, "padding": padding, "depth_multiplier": 2, "activation": "relu"}
    ours, theirs = AtrousSeparableConv2D(6, 3, **arguments), keras.layers.SeparableConv2D(6, 3, **arguments)
    ours.build(X.shape)
    theirs.build(X.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(X), theirs(X), atol=1e-6)
    assert ours.compute_output_shape(X.shape) == theirs.compute_output_shape(X.shape)


@pytest.mark.parametrize("kind", [AtrousConv2D, AtrousSeparableConv2D])
def test_invalid_padding(kind: type[keras.layers.Layer]) -> None:
    message = (
        "`padding` must be an integer of at least 0, or a pair of such integers (height, width). Received: padding=-1"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        kind(4, 3, padding=-1)
    message = (
        "Expected a padded input that is at least as large as the dilated kernel. "
        "Received: input_shape=(None, 3, 9, 4), kernel_size=(3, 3), dilation_rate=(4, 4), padding=(1, 1)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        kind(4, 3, dilation_rate=4, padding=1).build((None, 3, 9, 4))
