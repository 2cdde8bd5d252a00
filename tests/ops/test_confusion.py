"""Confusion matrices, compared with a loop over pixels."""

import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.ops.confusion import confusion_matrix


def loop(labels: np.ndarray, predictions: np.ndarray, classes: int, ignore: int | None) -> np.ndarray:
    counts = np.zeros((classes, classes + 1), "int64")
    for label, prediction in zip(labels.ravel(), predictions.ravel(), strict=True):
        if label != ignore:
            counts[label, prediction if 0 <= prediction < classes else classes] += 1
    return counts


@settings(deadline=None)
@given(st.integers(1, 6), st.sampled_from([None, 0, 3, 11, 255]), st.integers(0, 2**31))
def test_counts_match_loop(classes: int, ignore: int | None, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, (2, 5, 4))
    if ignore is not None:
        labels[random.random(labels.shape) < 0.3] = ignore
    predictions = random.integers(-1, classes + 2, labels.shape)
    matrix = confusion_matrix(labels, predictions, classes, ignore)
    assert matrix.dtype == "int64"
    np.testing.assert_array_equal(matrix, loop(labels, predictions, classes, ignore))


def test_void_predictions_are_false_negatives_and_void_labels_are_ignored() -> None:
    labels, predictions = np.array([[0, 0, 1, 255]], "uint8"), np.array([[0, 255, 255, 1]], "uint8")
    assert confusion_matrix(labels, predictions, 2, 255).numpy().tolist() == [[1, 0, 1], [0, 0, 1]]


def test_graph_of_unknown_size() -> None:
    signature = [tf.TensorSpec([None, None, None], "int32"), tf.TensorSpec([None, None, None], "int64")]
    graph = tf.function(lambda x, y: confusion_matrix(x, y, 3, 255), input_signature=signature)
    labels, predictions = np.ones((2, 3, 4), "int32"), np.full((2, 3, 4), 2, "int64")
    assert graph(labels, predictions).numpy().tolist() == [[0] * 4, [0, 0, 24, 0], [0] * 4]


@pytest.mark.parametrize(
    ("ignore", "expected", "wrong"),
    [
        (255, "Labels must be classes 0 to 2, or the ignore label 255.", 3),
        (None, "Labels must be classes 0 to 2.", -1),
    ],
)
def test_invalid_labels_are_rejected(ignore: int | None, expected: str, wrong: int) -> None:
    labels = tf.constant([[0, 1, wrong, 2]])
    for count in (confusion_matrix, tf.function(confusion_matrix)):
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            count(labels, labels, 3, ignore)
        assert re.search(rf"{re.escape(expected)} Received:'?\]? ?\[?\n?{wrong}\b", error.value.message)
