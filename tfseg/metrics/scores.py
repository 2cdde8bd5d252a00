"""Metrics of a confusion matrix in NumPy, for reports."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Absent = Literal["union", "ground_truth"]
"""Classes over which the mean IoU is taken: those in ground truth or prediction, or those in the ground truth."""


def scores(matrix: np.ndarray, absent: Absent = "union") -> dict[str, float]:
    """Computes mean IoU, pixel accuracy, mean accuracy, frequency-weighted IoU, and mean Dice, precision and recall.

    Let `n[i, j]` be the number of pixels of class `i` predicted as class `j`, `t[i]` the number of pixels of class `i`,
    and `u[i]` the number of pixels of class `i` in ground truth or prediction. The metrics are `mean(n[i, i] / u[i])`,
    `sum(n[i, i]) / sum(t)`, `mean(n[i, i] / t[i])` and `sum(t[i] n[i, i] / u[i]) / sum(t)`. Dice, precision and recall
    are the means of `2 n[i, i] / (t[i] + p[i])`, `n[i, i] / p[i]` and `n[i, i] / t[i]`, where `p[i]` is the number of
    pixels predicted as class `i`; a ratio without pixels counts as 0. All are 0 for an empty matrix.

    Example:

    >>> scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))["miou"]  # the third class is absent: (3/4 + 4/5) / 2
    0.775

    Args:
        matrix: Confusion matrix `[classes, classes]`, or `[classes, classes + 1]` with a last column of pixels
            predicted as none of the classes.
        absent: `"union"`: a class in the prediction but not in the ground truth has an IoU of 0; a class in neither is
            excluded from the mean. `"ground_truth"`: both are excluded.

    Returns:
        A dict with keys `miou`, `pixel_accuracy`, `mean_accuracy`, `frequency_weighted_iou`, `dice`, `precision` and
        `recall`.

    Reference:
        Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation (2015), section 5.
    """
    hits, truth, union = _counts(matrix)
    iou, total = _ratio(hits, union), max(truth.sum(), 1)
    predicted, counted = union - truth + hits, union > 0 if absent == "union" else truth > 0
    return {
        "miou": _mean(iou, counted),
        "pixel_accuracy": float(hits.sum() / total),
        "mean_accuracy": _mean(_ratio(hits, truth), truth > 0),
        "frequency_weighted_iou": float((truth * iou).sum() / total),
        "dice": _mean(_ratio(2 * hits, truth + predicted), counted),
        "precision": _mean(_ratio(hits, predicted), counted),
        "recall": _mean(_ratio(hits, truth), counted),
    }


def per_class(matrix: np.ndarray, absent: Absent = "union") -> tuple[float | None, ...]:
    """Computes the IoU of each class, None for classes that `absent` excludes from the mean."""
    hits, truth, union = _counts(matrix)
    counted = union > 0 if absent == "union" else truth > 0
    return tuple(float(iou) if has else None for iou, has in zip(_ratio(hits, union), counted, strict=True))


def report(matrix: np.ndarray, names: Sequence[str], absent: Absent = "union") -> dict[str, Any]:
    """Returns the entries of `metrics-<split>.json` that are computed from the confusion matrix.

    Args:
        matrix: Confusion matrix, see `scores`.
        names: Names of the classes.
        absent: See `scores`.

    Returns:
        A dict with the metrics of `scores`, `per_class` (IoU by class name), `confusion` (the square matrix) and
        `unclassified` (per class, the number of its pixels predicted as none of the classes; they count as errors).
    """
    matrix = np.asarray(matrix)
    if len(names) != len(matrix):
        raise ValueError(
            f"`names` must have one name per class of the matrix, that is {len(matrix)}. Received: names={tuple(names)}"
        )
    unclassified = matrix.sum(axis=1) - matrix[:, : len(matrix)].sum(axis=1)
    return {
        **scores(matrix, absent),
        "per_class": dict(zip(names, per_class(matrix, absent), strict=True)),
        "confusion": matrix[:, : len(matrix)].tolist(),
        "unclassified": unclassified.tolist(),
    }


def _counts(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns true positives, ground-truth pixels and union per class."""
    matrix = np.asarray(matrix)
    num_classes = len(matrix)
    if matrix.ndim != 2 or matrix.shape[1] not in (num_classes, num_classes + 1):
        raise ValueError(
            "`matrix` must be of shape [classes, classes], or [classes, classes + 1] with a column of pixels predicted "
            f"as none of the classes. Received: matrix of shape {matrix.shape}"
        )
    hits, truth = np.diagonal(matrix), matrix.sum(axis=1)
    return hits, truth, truth + matrix[:, :num_classes].sum(axis=0) - hits


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)


def _mean(values: np.ndarray, counted: np.ndarray) -> float:
    return float(values[counted].mean()) if counted.any() else 0.0
