"""Upsampling to the size of another tensor, and by bilinear transposed convolution."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.layers import BilinearConv2DTranspose, ResizeLike
from tfseg.ops.geometry import deconv_size
from tfseg.ops.resize import resize

X = np.random.default_rng(0).normal(size=(2, 7, 6, 3)).astype("float32")


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_deconvolution_is_bilinear_resizing_in_the_interior(factor: int, padding: str) -> None:
    """Both map output i to (i + 1/2) / factor - 1/2; `valid` adds half a stride on every side."""
    actual = BilinearConv2DTranspose(3, 2 * factor, factor, padding)(X)
    border = factor // 2 if padding == "valid" else 0
    assert actual.shape[1] == (deconv_size(7, 2 * factor, factor) if padding == "valid" else 7 * factor)
    actual = actual[:, border : border + 7 * factor, border : border + 6 * factor]
    inner = slice(factor // 2, -(factor // 2))
    expected = tf.image.resize(X, (7 * factor, 6 * factor))
    np.testing.assert_allclose(actual[:, inner, inner], expected[:, inner, inner], atol=1e-5)


def test_deconvolution_with_odd_kernel_preserves_the_pixels() -> None:
    """With kernel size 2 s - 1, every s-th output equals an input, as with aligned corners."""
    actual = BilinearConv2DTranspose(3, 7, 4)(X)[:, 3:-3, 3:-3]
    np.testing.assert_allclose(actual[:, ::4, ::4], X, atol=1e-6)
    np.testing.assert_allclose(actual, resize(X, (25, 21), align_corners=True), atol=1e-5)


def model_of(layer: keras.layers.Layer) -> keras.Model:
    image = keras.Input((None, None, 3))
    return keras.Model(image, layer(keras.layers.Conv2D(3, 1)(image)))


def test_fixed_kernel_is_a_non_trainable_weight() -> None:
    model = model_of(BilinearConv2DTranspose(3, 16, 8))
    assert [model.count_params(), len(model.trainable_weights)] == [12 + 16 * 16 * 3 * 3, 2]
    before = model.layers[-1].get_weights()[0]
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    model.fit(X, np.ones((2, 64, 56, 3)), verbose=0)
    np.testing.assert_array_equal(model.layers[-1].get_weights()[0], before)


def test_fixed_kernel_stays_frozen_when_its_model_is_unfrozen() -> None:
    model = model_of(BilinearConv2DTranspose(3, 4, 2))
    model.trainable = False
    model.trainable = True
    assert [weight.name for weight in model.trainable_weights] == ["kernel", "bias"]
    assert model.layers[-1].get_config()["trainable"] is False


def test_trainable_kernel_is_frozen_and_unfrozen_with_its_model() -> None:
    model = model_of(BilinearConv2DTranspose(3, 4, 2, trainable=True, use_bias=True))
    assert len(model.trainable_weights) == 4
    model.trainable = False
    assert not model.trainable_weights
    model.trainable = True
    assert len(model.trainable_weights) == 4


def test_channels_must_equal_filters() -> None:
    message = (
        "Expected an input of 21 channels, as many as `filters`: channels are upsampled independently. "
        "Received: input_shape=(2, 7, 6, 3)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        BilinearConv2DTranspose(21, 4, 2)(X)


def test_kernel_must_not_be_smaller_than_the_strides() -> None:
    message = (
        "`kernel_size` must be at least `strides`; a smaller kernel leaves gaps in the output. "
        "Received: kernel_size=(4, 4), strides=(8, 8)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        BilinearConv2DTranspose(3, 4, 8)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_resize_like_matches_resize(align_corners: bool, interpolation: str) -> None:
    layer = ResizeLike(align_corners, interpolation)
    reference = np.zeros((2, 20, 3, 9), "uint8")
    expected = resize(X, (20, 3), interpolation, align_corners)
    np.testing.assert_array_equal(layer([X, reference]), expected)


def test_a_float32_head_accepts_half_precision_scores() -> None:
    """Scores are interpolated in float32, without further rounding."""
    half = tf.cast(X, "float16")
    actual = ResizeLike(dtype="float32")([half, np.zeros((2, 20, 30, 3), "float32")])
    assert actual.dtype == "float32"
    np.testing.assert_array_equal(actual, tf.image.resize(tf.cast(half, "float32"), (20, 30)))


def test_a_model_with_bilinear_resizing_is_not_compiled_by_xla() -> None:
    """Keras enables XLA by default on GPUs."""
    image = keras.Input((None, None, 3))
    model = keras.Model(image, ResizeLike()([keras.layers.Conv2D(2, 3, 2)(image), image]))
    with pytest.warns(UserWarning, match="does not support JIT|jit_compile"):
        model.compile("sgd", "mse", jit_compile=True)
    assert model.jit_compile is False


def test_invalid_interpolation() -> None:
    message = '`interpolation` must be "bilinear" or "nearest". Received: interpolation=\'bicubic\''
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ResizeLike(interpolation="bicubic")
