"""Counting which class was taken for which."""

from typing import Any

from keras import ops

from tfseg.ops.demand import demand


def confusion_matrix(labels: Any, predictions: Any, classes: int, ignore: int | None = None) -> Any:
    """Counts pixels by their label (row) and their prediction (column).

    The last column counts labelled pixels that were predicted as no class at all, for instance as the void id: a miss.

    Args:
        labels: integers of any shape, each a class `0 … classes - 1` or `ignore`.
        predictions: integers of the same shape.
        classes: the number of classes.
        ignore: the label of pixels that are not counted.

    Returns:
        int64 `[classes, classes + 1]`.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, for a label that is neither a class nor `ignore` (ValueError with
            the NumPy backend). Under XLA, which has no such checks, these pixels are not counted.
    """
    labels = ops.reshape(ops.cast(labels, "int32"), (-1,))
    predictions = ops.reshape(ops.cast(predictions, "int32"), (-1,))
    inside = ops.logical_and(labels >= 0, labels < classes)
    known = inside if ignore is None else ops.logical_or(inside, labels == ignore)
    demand(ops.all(known), _expected(classes, ignore), ops.where(known, 0, labels)[ops.argmin(known)])
    counted = inside if ignore is None else ops.logical_and(inside, labels != ignore)
    column = ops.where(ops.logical_and(predictions >= 0, predictions < classes), predictions, classes)
    cells = classes * (classes + 1)
    cell = ops.where(counted, labels * (classes + 1) + column, cells)
    counts = ops.segment_sum(ops.ones_like(cell), cell, num_segments=cells + 1)[:-1]
    return ops.cast(ops.reshape(counts, (classes, classes + 1)), "int64")


def _expected(classes: int, ignore: int | None) -> str:
    exception = "" if ignore is None else f", or {ignore} where a pixel does not count"
    return f"Labels must be classes 0 to {classes - 1}{exception}."
