"""Mean-field iteration and normalizations of kernels."""

from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from tests.tiers import rotating
from tfseg.ops.crf.gaussian import gaussian_sums
from tfseg.ops.crf.mean_field import (
    NORMALIZATIONS,
    BilateralKernel,
    Kernel,
    Normalization,
    SpatialKernel,
    bilateral_features,
    fast_softmax,
    relative_softmax,
    scales,
    softmax_from_relative,
    step,
)
from tfseg.ops.crf.parameters import PARAMETERS

HEIGHT, WIDTH, LABELS = 4, 5, 3
generator = np.random.default_rng(0)
IMAGE = tf.constant(generator.uniform(0, 255, (HEIGHT, WIDTH, 3)))
UNARY, LOGITS = (tf.constant(generator.normal(size=(HEIGHT * WIDTH, LABELS))) for _ in range(2))
MATRICES = generator.normal(size=(3, LABELS, LABELS))


def kernels(normalization: Normalization = "after") -> list[Kernel]:
    return [
        BilateralKernel(IMAGE, 3.0, 80.0, normalization, 1.0),
        SpatialKernel(HEIGHT, WIDTH, 2.0, normalization, 1.0, "float64"),
    ]


def matrix(kernel: Kernel) -> np.ndarray:
    """Returns the kernel as a matrix over pixels."""
    return np.asarray(kernel(tf.eye(HEIGHT * WIDTH, dtype="float64")))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_normalizations() -> None:
    assert get_args(Normalization) == NORMALIZATIONS
    for index in (0, 1):
        raw = matrix(kernels("none")[index])
        sums = raw.sum(1)
        expected = {
            "none": raw,
            "before": raw / sums,
            "after": raw / sums[:, None],
            "symmetric": raw / np.sqrt(sums[:, None] * sums),
        }
        for normalization in NORMALIZATIONS:
            np.testing.assert_allclose(matrix(kernels(normalization)[index]), expected[normalization], atol=1e-12)


def test_spatial_kernel_matches_brute_force() -> None:
    positions = bilateral_features(IMAGE, 2.0, 1e9)
    expected = gaussian_sums(tf.eye(HEIGHT * WIDTH, dtype="float64"), positions)
    np.testing.assert_allclose(matrix(kernels("none")[1]), expected, rtol=1e-6)


def test_bilateral_features() -> None:
    features = np.reshape(bilateral_features(IMAGE, 2.0, 10.0), (HEIGHT, WIDTH, 5))
    np.testing.assert_allclose(features[2, 3], [1.5, 1, *np.asarray(IMAGE)[2, 3] / 10])


def test_scales_include_the_weight() -> None:
    sums = tf.constant([4.0, 16])
    expected = {
        "none": (None, [3, 3]),
        "before": ([1 / 4, 1 / 16], [3, 3]),
        "after": (None, [3 / 4, 3 / 16]),
        "symmetric": ([3**0.5 / 2, 3**0.5 / 4], [3**0.5 / 2, 3**0.5 / 4]),
    }
    for normalization in NORMALIZATIONS:
        for scale, value in zip(scales(sums, normalization, 3.0), expected[normalization], strict=True):
            assert (value is None and scale is None) or np.allclose(scale, value)
    before, after = scales(sums, "symmetric", -3.0)  # has no real root
    np.testing.assert_allclose(before * after, [-3 / 4, -3 / 16])


@pytest.mark.parametrize("highest", [0.0, 79.0, 81.0, 1e30])
def test_fast_softmax(highest: float) -> None:
    logits = tf.constant(np.random.default_rng(0).normal(size=(50, 6)) * 10, "float32")
    logits = tf.concat([logits - tf.reduce_max(logits) + highest, tf.fill([50, 2], tf.constant(-1e9))], 1)
    np.testing.assert_allclose(fast_softmax(logits), tf.nn.softmax(logits), rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("highest", [0.0, 79.0, 81.0, 1e30])
@pytest.mark.parametrize("labels", [2, 3, 5])
def test_relative_softmax(labels: int, highest: float) -> None:
    logits = tf.constant(np.random.default_rng(0).normal(size=(50, labels - 1)) * 10, "float32")
    logits += highest - tf.reduce_max(logits)
    q = tf.nn.softmax(tf.concat([tf.zeros([50, 1]), logits], 1))
    np.testing.assert_allclose(relative_softmax(logits), q[:, 1:] - q[:, :1], atol=5e-7)
    np.testing.assert_allclose(softmax_from_relative(logits), q)


@pytest.mark.parametrize("columns", [None, 1, 3, 8, 12])
def test_spatial_kernel_for_a_known_number_of_columns(columns: int | None) -> None:
    q = np.random.default_rng(0).normal(size=(HEIGHT * WIDTH, columns or 8))
    for normalization in NORMALIZATIONS:
        normal = kernels(normalization)[1]
        result = SpatialKernel(HEIGHT, WIDTH, 2.0, normalization, 1.0, "float64", columns)(tf.constant(q))
        np.testing.assert_allclose(result, matrix(normal) @ q, atol=1e-12)


@pytest.mark.parametrize("form", ["scalar", "per label", "matrix", "none"])
def test_step_matches_the_formula(form: str) -> None:
    """The formula of CRF-RNN: `q = U - mu (W_b F_b + W_s F_s)`."""
    full = MATRICES[:2]
    given = {"scalar": full[:, 0, 0], "per label": full[:, 0], "matrix": full, "none": ()}[form]
    wide = {
        "scalar": [w * np.eye(LABELS) for w in full[:, 0, 0]],
        "per label": [np.diag(w) for w in full[:, 0]],
        "matrix": full,
        "none": [np.eye(LABELS)] * 2,
    }[form]
    sums = [matrix(kernel) @ softmax(LOGITS.numpy()) for kernel in kernels()]
    message = sum(one @ w.T for one, w in zip(sums, wide, strict=True))
    np.testing.assert_allclose(step(LOGITS, UNARY, kernels(), given), UNARY + message, atol=1e-12)
    result = step(LOGITS, UNARY, kernels(), given, MATRICES[2])
    np.testing.assert_allclose(result, UNARY - message @ MATRICES[2].T, atol=1e-12)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("normalization", rotating(NORMALIZATIONS, {"before", "symmetric"}))
def test_gradients_match_finite_differences(normalization: Normalization) -> None:
    """Gradients of logits, unary, weights of both kernels and compatibility, over two iterations."""
    inputs = [LOGITS, UNARY, *(0.3 * MATRICES)]
    normal = kernels(normalization)

    @tf.function
    def twice(
        logits: tf.Tensor, unary: tf.Tensor, bilateral: tf.Tensor, spatial: tf.Tensor, mu: tf.Tensor
    ) -> tf.Tensor:
        for _ in range(2):
            logits = step(logits, unary, normal, (bilateral, spatial), mu)
        return tf.nn.softmax(logits)

    for analytic, numeric in zip(*tf.test.compute_gradient(twice, inputs), strict=True):
        np.testing.assert_allclose(numeric, analytic, atol=1e-5)


def test_gradients_in_a_graph_match_eager_gradients() -> None:
    mu = tf.Variable(MATRICES[2])

    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(LOGITS)
            total = tf.reduce_sum(step(LOGITS, UNARY, kernels(), (2.0, [1.0, 2.0, 3.0]), mu) ** 2)
        return tape.gradient(total, [LOGITS, mu])

    for eager, graph in zip(gradients(), tf.function(gradients)(), strict=True):
        np.testing.assert_allclose(graph, eager, rtol=1e-9)


def test_published_parameters() -> None:
    """Values and normalizations published with DeepLab, CRF-RNN and DeconvNet."""
    values = {
        name: (p.bilateral_weight, p.theta_alpha, p.theta_beta, p.spatial_weight, p.theta_gamma, p.normalization)
        for name, p in PARAMETERS.items()
    }
    assert values["deeplab_v1"] == (5, 50, 10, 3, 3, "after")
    assert values["deeplab_v1_msc"] == (3, 95, 3, 3, 3, "after")
    assert values["deeplab_v1_largefov"] == (4, 121, 5, 3, 3, "after")
    assert values["deeplab_v2_vgg16"] == (4, 49, 5, 3, 3, "after")
    assert values["deeplab_v2_resnet101"] == (4, 67, 3, 3, 1, "symmetric")
    assert values["deconvnet"] == (5, 20, 3, 3, 3, "after")
    assert values["crf_rnn"] == (5, 160, 3, 3, 3, "after")
    assert all(p.source for p in PARAMETERS.values())
