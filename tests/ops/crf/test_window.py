"""Bilateral kernel over a window, compared with brute-force sums without the pairs outside the window."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.ops.crf.gaussian import gaussian_sums
from tfseg.ops.crf.mean_field import NORMALIZATIONS, Normalization, bilateral_features
from tfseg.ops.crf.window import WindowKernel, window_sums, window_taps

ALPHA, BETA = 2.5, 40.0
generator = np.random.default_rng(0)
IMAGES = generator.uniform(0, 255, (2, 6, 7, 3))
Q = generator.dirichlet(np.ones(4), (2, 6, 7))


def matrix(image: np.ndarray, window: int) -> np.ndarray:
    """Returns the unnormalized kernel over pairs of pixels, zero outside the window."""
    height, width, _ = image.shape
    features = bilateral_features(tf.constant(image), ALPHA, BETA)
    full = np.asarray(gaussian_sums(tf.eye(height * width, dtype="float64"), features))
    rows, columns = (np.ravel(indices) for indices in np.mgrid[:height, :width])
    outside = [abs(indices[:, None] - indices) > window // 2 for indices in (rows, columns)]
    return np.where(outside[0] | outside[1], 0, full)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("window", [3, 5, 21])
def test_kernel_matches_brute_force(normalization: Normalization, window: int) -> None:
    result = WindowKernel(tf.constant(IMAGES), ALPHA, BETA, normalization, window)(tf.constant(Q))
    for image, q, sums in zip(IMAGES, Q, result.numpy(), strict=True):
        raw = matrix(image, window)
        n = raw.sum(1)
        before = {"before": n, "symmetric": np.sqrt(n)}.get(normalization, np.ones_like(n))
        after = {"after": n, "symmetric": np.sqrt(n)}.get(normalization, np.ones_like(n))
        expected = raw / before @ q.reshape(-1, 4) / after[:, None]
        np.testing.assert_allclose(sums.reshape(-1, 4), expected, atol=1e-12)


def test_float32_precision() -> None:
    exact, single = (
        WindowKernel(tf.constant(IMAGES, dtype), ALPHA, BETA, "after", 5)(tf.constant(Q, dtype))
        for dtype in ("float64", "float32")
    )
    np.testing.assert_allclose(single, exact, atol=1e-5)


def test_window_taps() -> None:
    expected = [[np.exp(-(i * i + j * j) / 8) for j in (-1, 0, 1)] for i in (-1, 0, 1)]
    np.testing.assert_allclose(window_taps(3, 2.0).reshape(3, 3), expected)


def test_gradients_match_finite_differences() -> None:
    values, colors = tf.constant(Q[:, :3, :4]), tf.constant(IMAGES[:, :3, :4] / 100)

    @tf.function
    def sums(values: tf.Tensor, colors: tf.Tensor) -> tf.Tensor:
        return window_sums(values, colors, window_taps(3, 2.0), image_gradient=True) ** 2

    for analytic, numeric in zip(*tf.test.compute_gradient(sums, [values, colors]), strict=True):
        np.testing.assert_allclose(analytic, numeric, atol=1e-6)


def test_memory_does_not_depend_on_the_window() -> None:
    """The graph contains a single loop for any window size."""

    @tf.function
    def sums(values: tf.Tensor, colors: tf.Tensor, window: int) -> tf.Tensor:
        return window_sums(values, colors, window_taps(window, 2.0))

    specs = [tf.TensorSpec([1, None, None, columns]) for columns in (4, 3)]
    graphs = [sums.get_concrete_function(*specs, window).graph for window in (3, 11)]
    few, many = ([node.op for node in graph.as_graph_def().node] for graph in graphs)
    assert few == many and few.count("While") + few.count("StatelessWhile") == 1
