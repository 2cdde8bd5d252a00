"""Gaussian filtering of images."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.ops.crf.gaussian import fold_factor, gaussian_blur, gaussian_sums, gaussian_taps


def brute_force(x: np.ndarray, theta: float) -> np.ndarray:
    positions = np.stack(np.meshgrid(*map(np.arange, x.shape[1:3]), indexing="ij"), -1).reshape(-1, 2) / theta
    sums = gaussian_sums(tf.reshape(tf.constant(x), [len(x), -1, x.shape[-1]]), tf.constant(positions)[None])
    return np.reshape(sums, x.shape)


@pytest.mark.parametrize("theta", [0.3, 1, 2.5, 3, 7])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (20, 24), (33, 2)])
def test_blur_matches_brute_force(theta: float, size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).uniform(size=(2, *size, 3))
    expected = brute_force(x, theta)
    np.testing.assert_allclose(gaussian_blur(tf.constant(x), theta), expected, rtol=1e-6)
    np.testing.assert_allclose(gaussian_blur(tf.constant(x, "float32"), theta), expected, rtol=2e-6)


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("size", [(12, 20), (7, 13), (1, 2), (25, 21)])
def test_blur_with_folded_columns(size: tuple[int, int], channels: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, *size, channels)).astype("float32")
    expected = gaussian_blur(tf.constant(x), 1.5)
    fold = fold_factor(size[1], channels), fold_factor(size[0], channels)
    np.testing.assert_allclose(gaussian_blur(tf.constant(x), 1.5, fold), expected, atol=1e-5)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, channels])])
    def of_any_size(x: tf.Tensor) -> tf.Tensor:
        return gaussian_blur(x, 1.5, tuple(fold_factor(tf.shape(x)[axis], channels) for axis in (2, 1)))

    np.testing.assert_allclose(of_any_size(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("width", "channels", "factor"), [(500, 8, 2), (375, 8, 5), (499, 8, 1), (360, 1, 15), (6, 40, 1)]
)
def test_fold_factor_uses_whole_registers(width: int, channels: int, factor: int) -> None:
    assert fold_factor(width, channels) == factor == int(fold_factor(tf.constant(width), channels))


def test_truncation_error() -> None:
    full = np.exp(-0.5 * (np.arange(-300, 301) / 3) ** 2)
    assert 0 < full.sum() - gaussian_taps(3).sum() < 1e-6 * full.sum()
    assert len(gaussian_taps(3)) == 31


def test_gradient_matches_finite_differences() -> None:
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 4, 5, 2)))
    (analytic,), (numeric,) = tf.test.compute_gradient(lambda x: gaussian_blur(x, 1.5), [x])
    np.testing.assert_allclose(analytic, numeric, atol=1e-6)


def test_gaussian_sums_match_loop() -> None:
    features, values = np.random.default_rng(0).normal(size=(2, 3, 7, 4))
    expected = np.zeros_like(values)
    for image in range(3):
        for i in range(7):
            for j in range(7):
                weight = np.exp(-0.5 * np.sum((features[image, i] - features[image, j]) ** 2))
                expected[image, i] += weight * values[image, j]
    np.testing.assert_allclose(gaussian_sums(tf.constant(values), tf.constant(features)), expected)
