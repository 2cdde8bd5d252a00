"""Dice, precision and recall against NumPy."""

from typing import Any

import numpy as np
import pytest

from tfseg.metrics import DiceCoefficient, Precision, Recall, scores

CLASSES, IGNORE = 5, 255


def example(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws label maps without class 4, and predictions without class 3 but with an id of no class."""
    rng = np.random.default_rng(seed)
    labels, ids = rng.integers(0, 4, (2, 6, 7)), rng.choice([0, 1, 2, 4, 9], (2, 6, 7))
    labels[rng.random(labels.shape) < 0.2] = IGNORE
    return labels, ids


def counts(labels: np.ndarray, ids: np.ndarray, identity: int) -> tuple[int, int, int]:
    """Returns true positives, false positives and false negatives."""
    truth, predicted, counted = labels == identity, ids == identity, labels != IGNORE
    return int((truth & predicted).sum()), int((~truth & predicted & counted).sum()), int((truth & ~predicted).sum())


@pytest.mark.parametrize(
    ("metric", "ratio"),
    [
        (DiceCoefficient, lambda tp, fp, fn: 2 * tp / (2 * tp + fp + fn)),
        (Precision, lambda tp, fp, fn: tp / (tp + fp) if tp + fp else 0),
        (Recall, lambda tp, fp, fn: tp / (tp + fn) if tp + fn else 0),
    ],
)
def test_means_over_classes_in_ground_truth_or_prediction(metric: Any, ratio: Any) -> None:
    labels, ids = example()
    own = metric(CLASSES + 1)  # class 5 occurs nowhere
    own.update_state(labels, ids)
    expected = [ratio(*counts(labels, ids, each)) for each in range(CLASSES)]
    assert float(own.result()[own.NAME]) == pytest.approx(np.mean(expected), rel=1e-6)
    np.testing.assert_allclose(own.per_class(), [*expected, np.nan], rtol=1e-12)


def test_report_has_the_same_values() -> None:
    labels, ids = example()
    metrics = [metric(CLASSES) for metric in (DiceCoefficient, Precision, Recall)]
    for metric in metrics:
        metric.update_state(labels, ids)
    reported = scores(metrics[0].confusion.numpy())
    for metric in metrics:
        assert reported[metric.NAME] == pytest.approx(float(metric.result()[metric.NAME]), rel=1e-6)
