"""Attention to scale, against NumPy."""

import re

import keras
import numpy as np
import pytest

from tests.layers.reference import convolved, relu
from tfseg.layers import AttentionToScale

RANDOM = np.random.default_rng(0)
SCORES = [RANDOM.normal(size=(2, 6, 7, 4)).astype("float32") for _ in range(3)]
FEATURES = [RANDOM.normal(size=(2, 6, 7, channels)).astype("float32") for channels in (5, 5, 2)]


def layer(**arguments: object) -> AttentionToScale:
    """Returns a layer with random weights, including biases."""
    attention = AttentionToScale(scales=3, filters=6, **arguments)
    attention.build([each.shape for each in (*SCORES, *FEATURES)])
    random = np.random.default_rng(1)
    for weight in attention.weights:
        weight.assign(random.normal(size=weight.shape))
    return attention


def fused(weights: list[np.ndarray], scores: list[np.ndarray], features: list[np.ndarray]) -> np.ndarray:
    """Section 3.2 of the paper in NumPy."""
    hidden = relu(convolved(np.concatenate(features, axis=3), *weights[:2]))
    shares = np.exp(convolved(hidden, *weights[2:]))
    shares /= shares.sum(axis=3, keepdims=True)
    return sum(shares[..., [index]] * each for index, each in enumerate(scores))


def test_output_matches_numpy() -> None:
    """Tolerance 1e-5: float32 sums of 108 products before a softmax."""
    attention = layer()
    expected = fused(attention.get_weights(), SCORES, FEATURES)
    np.testing.assert_allclose(attention([*SCORES, *FEATURES]), expected, atol=1e-5)
    assert attention.hidden.kernel.shape == (3, 3, 12, 6) and attention.weigh.kernel.shape == (1, 1, 6, 3)


def test_equal_scores_are_unchanged() -> None:
    """The weights sum to one."""
    actual = layer()([*[SCORES[0]] * 3, *FEATURES])
    np.testing.assert_allclose(actual, SCORES[0], atol=1e-5)


def test_scores_are_fused_in_float32() -> None:
    """In float16, the weighted scores would be rounded before the sum."""
    attention = AttentionToScale(scales=2, filters=1, dtype="mixed_float16")
    ones = np.ones((1, 1, 1, 1), "float16")
    attention.build([ones.shape] * 4)
    for weight in attention.weights:
        weight.assign(np.zeros(weight.shape))
    actual = attention([60000 * ones, 60000 * ones, ones, ones])
    assert actual.dtype == "float16" and float(actual[0, 0, 0, 0]) == 60000 * ones[0, 0, 0, 0]


def test_invalid_arguments() -> None:
    with pytest.raises(ValueError, match=r"^`scales` must be an integer of at least 2. Received: scales=1$"):
        AttentionToScale(scales=1)
    message = re.escape("Expected the scores of 3 scales followed by their features: 6 tensors. Received shapes: ")
    with pytest.raises(ValueError, match=message):
        AttentionToScale(scales=3)([*SCORES, *FEATURES[:2]])


def test_functional_model_has_the_shape_of_the_scores() -> None:
    image = keras.Input((None, None, 4))
    model = keras.Model(image, AttentionToScale(2, 3)([image] * 4))
    assert model.output_shape == (None, None, None, 4)
