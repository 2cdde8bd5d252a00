"""Resizing, compared with tf.image.resize and with a loop over the formula."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tfseg.ops.resize import resize, resize_mask

SIZES = [(16, 14), (15, 21), (4, 3), (8, 7), (1, 1), (33, 2)]
X = np.random.default_rng(2).normal(size=(2, 8, 7, 3)).astype("float32")


def aligned(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Computes Caffe's `Interp`: output i interpolates the two pixels around the coordinate i (in - 1) / (out - 1)."""
    y = np.zeros((x.shape[0], *size, x.shape[3]), "float64")
    for i, j in np.ndindex(*size):
        v, u = (
            index * (before - 1) / (after - 1) if after > 1 else 0.0
            for index, before, after in ((i, x.shape[1], size[0]), (j, x.shape[2], size[1]))
        )
        top, left = int(v), int(u)
        bottom, right = min(top + 1, x.shape[1] - 1), min(left + 1, x.shape[2] - 1)
        upper = x[:, top, left] * (1 - u + left) + x[:, top, right] * (u - left)
        lower = x[:, bottom, left] * (1 - u + left) + x[:, bottom, right] * (u - left)
        y[:, i, j] = upper * (1 - v + top) + lower * (v - top)
    return y


@pytest.mark.parametrize("size", SIZES)
def test_aligned_corners_match_caffe(size: tuple[int, int]) -> None:
    np.testing.assert_allclose(resize(X, size, align_corners=True), aligned(X, size), atol=1e-5)


def test_aligned_corners_preserve_the_input_for_integer_factors() -> None:
    """DeepLab's 41 to 321: every eighth pixel is equal to an input pixel."""
    x = np.random.default_rng(3).normal(size=(1, 41, 41, 2)).astype("float32")
    y = resize(x, (321, 321), align_corners=True)
    np.testing.assert_allclose(y[:, ::8, ::8], x, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", ["bilinear", "nearest"])
def test_half_pixel_centers_match_tf_image(size: tuple[int, int], method: str) -> None:
    np.testing.assert_allclose(resize(X, size, method), tf.image.resize(X, size, method), atol=1e-6)


def test_nearest_with_aligned_corners() -> None:
    x = np.arange(4.0, dtype="float32").reshape(1, 1, 4, 1)
    result = np.ravel(resize(x, (1, 7), "nearest", align_corners=True))
    assert result.tolist() == [0, 1, 1, 2, 2, 3, 3]  # coordinates 0, 0.5, 1, 1.5, …; one half rounds up


def test_masks_equal_those_resized_as_images() -> None:
    generator = np.random.default_rng(5)
    for dtype in ("uint8", "int32"):
        mask = tf.constant(generator.integers(0, 200, (37, 53)), dtype)
        for size in [(1, 1), (1, 90), (37, 53), (74, 106), (18, 26), *generator.integers(1, 200, (40, 2)).tolist()]:
            resized = resize_mask(mask, tf.constant(size))
            assert resized.dtype == dtype
            np.testing.assert_array_equal(resized, resize(mask[None, :, :, None], size, "nearest")[0, :, :, 0])


def test_integer_types_are_preserved() -> None:
    x = np.array([[[[200], [100]]]], "uint8")
    assert np.ravel(resize(x, (1, 4), "nearest")).tolist() == [200, 200, 100, 100]
    assert resize(x, (1, 4), "nearest").dtype == "uint8"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_interpolated_in_float32(dtype: str) -> None:
    x = tf.cast(X, dtype)
    y = resize(x, (33, 29))
    assert y.dtype == dtype
    expected = tf.cast(tf.image.resize(tf.cast(x, "float32"), (33, 29)), dtype)
    np.testing.assert_array_equal(tf.cast(y, "float32"), tf.cast(expected, "float32"))


def test_graph_of_unknown_size() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([2], "int32")])
    def graph(x: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        y = resize(x, (size[0], 5))
        assert y.shape.as_list() == [None, None, 5, 3]
        return y

    np.testing.assert_allclose(graph(X, [9, 0]), tf.image.resize(X, (9, 5)), atol=1e-6)


def test_gradients_match_finite_differences() -> None:
    """Resizing is linear, so the gradient of the sum of `y * weights` equals its change for an input step of 1."""
    weights = np.random.default_rng(4).normal(size=(2, 11, 12, 3)).astype("float32")
    for align_corners in (False, True):
        x = tf.constant(X)
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(resize(x, (11, 12), align_corners=align_corners) * weights)
        step = np.zeros_like(X)
        step[1, 7, 0, 2] = 1
        change = np.sum(resize(step, (11, 12), align_corners=align_corners) * weights)
        assert float(tape.gradient(total, x)[1, 7, 0, 2]) == pytest.approx(float(change), abs=1e-4)


def test_xla_gives_wrong_values() -> None:
    """If this test fails, XLA is fixed, and `ResizeLike` can support it."""
    compiled = tf.function(lambda x: resize(x, (24, 21)), jit_compile=True)
    assert np.abs(compiled(X) - resize(X, (24, 21))).max() > 0.1


def test_unsupported_interpolation_is_rejected() -> None:
    message = '`interpolation` must be "bilinear" or "nearest". Received: interpolation=\'cubic\''
    with pytest.raises(ValueError, match=re.escape(message)):
        resize(X, (2, 2), "cubic")
