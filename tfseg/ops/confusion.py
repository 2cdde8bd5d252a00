"""Counting which class was taken for which."""

from typing import Any

import keras
from keras import ops

from tfseg.ops.runtime import assert_condition

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def _counts(values: Any, length: int) -> Any:
        """How often each of 0 to `length - 1` occurs; five times as fast on CPUs as a sum over segments."""
        none = tf.constant([], tf.int32)  # `tf.math.bincount` reads the length off the values, which XLA cannot
        return tf.raw_ops.DenseBincount(input=values, size=length, weights=none, binary_output=False)

else:

    def _counts(values: Any, length: int) -> Any:
        return ops.segment_sum(ops.ones_like(values), values, num_segments=length)


def confusion_matrix(labels: Any, predictions: Any, num_classes: int, ignore_label: int | None = None) -> Any:
    """Counts pixels by their label (row) and their prediction (column).

    The last column counts labeled pixels that were predicted as no class at all, for instance as the void id: a miss.

    Args:
        labels: integers of any shape, each a class `0 … classes - 1` or `ignore_label`.
        predictions: integers of the same shape.
        num_classes: the number of classes.
        ignore_label: the label of pixels that are not counted.

    Returns:
        int64 `[classes, classes + 1]`.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, for a label that is neither a class nor `ignore_label` (ValueError
        with
            the NumPy backend). Under XLA, which has no such checks, these pixels are not counted.
    """
    return confusion_matrices(labels, predictions, ops.zeros_like(labels), 1, num_classes, ignore_label)[0]


def confusion_matrices(
    labels: Any, predictions: Any, parts: Any, count: int, num_classes: int, ignore_label: int | None = None
) -> Any:
    """A confusion matrix for each of the `count` parts that pixels belong to, as `confusion_matrix` makes one.

    Args:
        labels: integers of any shape, each a class `0 … classes - 1` or `ignore_label`.
        predictions: integers of the same shape.
        parts: integers of the same shape, at least 0. Pixels of part `count` or higher are not counted.
        count: the number of parts.
        num_classes: the number of classes.
        ignore_label: the label of pixels that are not counted.

    Returns:
        int64 `[count, classes, classes + 1]`.

    Raises:
        tf.errors.InvalidArgumentError: as of `confusion_matrix`.
    """
    labels = ops.reshape(ops.cast(labels, "int32"), (-1,))
    predictions = ops.reshape(ops.cast(predictions, "int32"), (-1,))
    parts = ops.reshape(ops.cast(parts, "int32"), (-1,))
    inside = assert_labels(labels, num_classes, ignore_label)
    counted = ops.logical_and(inside, parts < count)
    column = ops.where(ops.logical_and(predictions >= 0, predictions < num_classes), predictions, num_classes)
    cells = count * num_classes * (num_classes + 1)
    cell = ops.where(counted, (parts * num_classes + labels) * (num_classes + 1) + column, cells)
    counts = _counts(cell, cells + 1)[:-1]
    return ops.cast(ops.reshape(counts, (count, num_classes, num_classes + 1)), "int64")


def assert_labels(labels: Any, num_classes: int, ignore_label: int | None = None) -> Any:
    """Which of the labels are of a class that counts; others than classes and `ignore_label` are refused when it
    runs."""
    inside = ops.logical_and(labels >= 0, labels < num_classes)
    if ignore_label is None:
        known = counted = inside
    else:
        known, counted = ops.logical_or(inside, labels == ignore_label), ops.logical_and(inside, labels != ignore_label)

    def first_unknown() -> Any:
        return ops.reshape(labels, (-1,))[ops.argmin(ops.reshape(known, (-1,)))]

    assert_condition(ops.all(known), _expected(num_classes, ignore_label), first_unknown)
    return counted


def _expected(num_classes: int, ignore_label: int | None) -> str:
    exception = "" if ignore_label is None else f", or {ignore_label} where a pixel does not count"
    return f"Labels must be classes 0 to {num_classes - 1}{exception}."
