"""The figures of a confusion matrix, in NumPy: what a report prints."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Absent = Literal["union", "ground_truth"]
"""Which classes the mean of the intersections over union is taken over: those that ground truth or prediction has, or
those that ground truth has."""


def scores(matrix: np.ndarray, absent: Absent = "union") -> dict[str, float]:
    """Mean intersection over union, pixel accuracy, mean accuracy and frequency-weighted intersection over union.

    With `n[i, j]` the pixels of class `i` predicted as `j`, `t[i]` the pixels of class `i` and `u[i]` the pixels of
    class `i` in ground truth or prediction: `mean(n[i, i] / u[i])`, `sum(n[i, i]) / sum(t)`, `mean(n[i, i] / t[i])` and
    `sum(t[i] n[i, i] / u[i]) / sum(t)`. All are 0 where nothing was counted.

    Example:

    >>> scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))["miou"]  # the third class is nowhere: (3/4 + 4/5) / 2
    0.775

    Args:
        matrix: `[classes, classes]`, or `[classes, classes + 1]` whose last column counts pixels predicted as no class.
        absent: `"union"`: a class that is predicted but not in ground truth counts as 0, a class that is in neither is
            left out. `"ground_truth"`: both are left out.

    Reference:
        Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation (2015), section 5.
    """
    hits, truth, union = _counts(matrix)
    iou, total = _ratio(hits, union), max(truth.sum(), 1)
    return {
        "miou": _mean(iou, union > 0 if absent == "union" else truth > 0),
        "pixel_accuracy": float(hits.sum() / total),
        "mean_accuracy": _mean(_ratio(hits, truth), truth > 0),
        "frequency_weighted_iou": float((truth * iou).sum() / total),
    }


def per_class(matrix: np.ndarray, absent: Absent = "union") -> tuple[float | None, ...]:
    """The intersection over union of each class, None where the class is left out of the mean."""
    hits, truth, union = _counts(matrix)
    counted = union > 0 if absent == "union" else truth > 0
    return tuple(float(iou) if has else None for iou, has in zip(_ratio(hits, union), counted, strict=True))


def report(matrix: np.ndarray, names: Sequence[str], absent: Absent = "union") -> dict[str, Any]:
    """What `metrics-<split>.json` says of a confusion matrix: the figures, `per_class`, `confusion` and `unclassified`.

    `unclassified` counts, for each class, its pixels that were predicted as none of the classes. They are misses.
    """
    matrix = np.asarray(matrix)
    if len(names) != len(matrix):
        raise ValueError(
            f"`names` must name each of the {len(matrix)} classes of the matrix. Received: names={tuple(names)}"
        )
    outside = matrix.sum(axis=1) - matrix[:, : len(matrix)].sum(axis=1)
    return {
        **scores(matrix, absent),
        "per_class": dict(zip(names, per_class(matrix, absent), strict=True)),
        "confusion": matrix[:, : len(matrix)].tolist(),
        "unclassified": outside.tolist(),
    }


def _counts(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    matrix = np.asarray(matrix)
    classes = len(matrix)
    if matrix.ndim != 2 or matrix.shape[1] not in (classes, classes + 1):
        raise ValueError(
            "A confusion matrix is [classes, classes], or [classes, classes + 1] with a column for pixels predicted as "
            f"no class. Received: matrix of shape {matrix.shape}"
        )
    hits, truth = np.diagonal(matrix), matrix.sum(axis=1)
    return hits, truth, truth + matrix[:, :classes].sum(axis=0) - hits


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)


def _mean(values: np.ndarray, counted: np.ndarray) -> float:
    return float(values[counted].mean()) if counted.any() else 0.0
