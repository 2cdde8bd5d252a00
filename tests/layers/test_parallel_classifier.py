"""Classifier of DeepLab v2, against a reference implementation in loops."""

import re
from typing import Any

import keras
import numpy as np
import pytest

from tests.layers.reference import convolved, relu
from tfseg.layers import ParallelAtrousClassifier

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 9, 12, 3)).astype("float32")


def filled(**arguments: Any) -> ParallelAtrousClassifier:
    """Returns a layer with random weights, including biases."""
    head = ParallelAtrousClassifier(5, **arguments)
    head.build(X.shape)
    for weight in head.weights:
        weight.assign(RANDOM.normal(size=weight.shape))
    return head


def conv(x: np.ndarray, head: ParallelAtrousClassifier, name: str, rate: int = 1) -> np.ndarray:
    return convolved(x, *head.sublayers[name].get_weights(), rate=rate)


def test_branches_of_one_convolution_are_summed() -> None:
    head = filled(rates=(1, 3, 12))
    expected = sum(conv(X, head, f"fc1_c{number}", rate) for number, rate in enumerate((1, 3, 12)))
    np.testing.assert_allclose(head(X), expected, rtol=1e-4, atol=1e-4)


def test_branches_with_hidden_layers_are_summed() -> None:
    head = filled(rates=(2, 6), filters=4)
    expected = 0.0
    for number, rate in ((1, 2), (2, 6)):
        hidden = relu(conv(relu(conv(X, head, f"fc6_{number}", rate)), head, f"fc7_{number}"))
        expected = expected + conv(hidden, head, f"fc8_{number}")
    np.testing.assert_allclose(head(X), expected, rtol=1e-4, atol=1e-3)


def count(channels: int, **arguments: Any) -> int:
    with keras.StatelessScope(initialize_variables=False):
        head = ParallelAtrousClassifier(21, **arguments)
        head.build((None, None, None, channels))
    return sum(int(np.prod(weight.shape)) for weight in head.weights)


def test_parameters_of_the_published_heads() -> None:
    """On ResNet-101, and on VGG16, whose thirteen convolutions have 14,714,688 of ASPP's 37,877,652 parameters."""
    assert count(2048) == 1_548_372
    assert count(512, filters=1024) == 37_877_652 - 14_714_688
    assert count(512, rates=(12,), filters=1024) == 20_505_429 - 14_714_688


def test_score_kernels_are_initialized_from_a_gaussian() -> None:
    keras.utils.set_random_seed(0)
    for arguments, name in (({}, "fc1_c0"), ({"filters": 64}, "fc8_1")):
        head = ParallelAtrousClassifier(200, **arguments)
        head.build((None, None, None, 64))
        kernel, bias = head.sublayers[name].get_weights()
        assert kernel.std() == pytest.approx(0.01, rel=0.02)
        assert abs(kernel.mean()) < 1e-3 and not bias.any()


def test_branches_have_separate_dropout_in_training_only() -> None:
    head = filled(rates=(1, 2), filters=4, dropout=0.5)
    assert list(head.sublayers)[:5] == ["fc6_1", "drop6_1", "fc7_1", "drop7_1", "fc8_1"]
    np.testing.assert_array_equal(head(X), head(X))
    assert np.any(np.asarray(head(X, training=True)) != np.asarray(head(X)))
    assert "drop6_1" not in ParallelAtrousClassifier(5, filters=4, dropout=0.0).sublayers


def test_frozen_layers_have_frozen_sublayers_after_from_config() -> None:
    head = filled(trainable=False)
    assert not any(layer.trainable for layer in head.sublayers.values())
    again = ParallelAtrousClassifier.from_config(head.get_config())
    assert not any(layer.trainable for layer in again.sublayers.values())


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ((), "`rates` must contain at least one dilation rate. Received: rates=()"),
        ((-6,), "`rates` must be a sequence of positive integers. Received: rates=(-6,)"),
    ],
)
def test_invalid_arguments(rates: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ParallelAtrousClassifier(21, rates)
