"""Local response normalization, against Caffe's formula in a loop and TensorFlow's operation."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tfseg.layers import LocalResponseNormalization

X = (np.random.default_rng(0).normal(size=(2, 3, 4, 9)) * 100).astype("float32")


def caffe(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    """`lrn_layer.cpp`, across channels."""
    result = np.zeros(x.shape)
    for channel in range(x.shape[3]):
        total = 0.0
        for other in range(channel - size // 2, channel + size // 2 + 1):
            if 0 <= other < x.shape[3]:
                total = total + x[..., other].astype("float64") ** 2
        result[..., channel] = x[..., channel] * (k + alpha / size * total) ** -beta
    return result


@pytest.mark.parametrize(("radius", "alpha", "beta", "bias"), [(2, 1e-4, 0.75, 1.0), (1, 0.5, 0.5, 2.0), (0, 1, 1, 1)])
def test_output_matches_caffe(radius: int, alpha: float, beta: float, bias: float) -> None:
    actual = LocalResponseNormalization(radius, alpha, beta, bias)(X)
    np.testing.assert_allclose(actual, caffe(X, 2 * radius + 1, alpha, beta, bias), rtol=1e-5)


def test_defaults_are_those_of_alexnet() -> None:
    np.testing.assert_allclose(LocalResponseNormalization()(X), caffe(X, 5, 1e-4, 0.75, 1.0), rtol=1e-5)


def test_output_matches_tensorflow_with_a_fifth_of_alpha() -> None:
    x = tf.constant(X)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours, theirs = LocalResponseNormalization()(x), tf.nn.local_response_normalization(x, 2, 1.0, 1e-4 / 5, 0.75)
        sums = [tf.reduce_sum(y**2) for y in (ours, theirs)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(*(tape.gradient(y, x) for y in sums), rtol=1e-4, atol=1e-4)


def test_squares_do_not_overflow_float16() -> None:
    actual = LocalResponseNormalization(dtype="mixed_float16")(X * 10)
    assert actual.dtype == "float16"
    np.testing.assert_allclose(actual, caffe(X * 10, 5, 1e-4, 0.75, 1.0), rtol=2e-3)


def test_invalid_radius() -> None:
    message = "`depth_radius` must be an integer of at least 0. Received: depth_radius=2.5"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        LocalResponseNormalization(2.5)
