"""The one ignore policy of all losses: which pixels count, and how much."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from tfseg.ops.runtime import assert_condition


def check_from_logits(from_logits: bool) -> None:
    """Checks the argument that Keras's losses have and ours need not.

    Raises:
        ValueError: If `from_logits` is not True.
    """
    if from_logits is not True:
        raise ValueError(
            "`from_logits` must be True: this loss takes logits, not probabilities. Remove the softmax at the end of "
            f"the model, and leave `from_logits` out. Received: from_logits={from_logits!r}"
        )


def pixel_labels(labels: Any, logits_shape: Sequence[int | None], ignore_label: int) -> tuple[Any, Any]:
    """Labels that are safe to look up, and which pixels count.

    Args:
        labels: integer labels `[batch, height, width]` or `[batch, height, width, 1]`.
        logits_shape: the shape of the logits `[batch, height, width, classes]`.
        ignore_label: the label of pixels that do not count.

    Returns:
        int64 labels `[batch, height, width]`, 0 where a pixel does not count, and float32 `[batch, height, width]`,
        1 where a pixel counts and 0 where not. All of it is NaN if a label is no class, where no check can be raised.

    Raises:
        ValueError: shapes that do not fit.
    """
    if len(labels.shape) == len(logits_shape) and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, axis=-1)
    classes = logits_shape[-1]
    if classes is None or len(logits_shape) != 4 or not _compatible(labels.shape, logits_shape[:-1]):
        raise ValueError(
            "Labels must be [batch, height, width] and logits [batch, height, width, classes], of the same height and "
            f"width. Received: y_true of shape {tuple(labels.shape)}, y_pred of shape {tuple(logits_shape)}"
        )
    return _checked(ops.cast(labels, "int64"), classes, ignore_label)


def weighted(counted: Any, labels: Any, table: Sequence[float] | None, sample_weight: Any) -> Any:
    """`counted` times the weight of each pixel's class and the caller's weights, one for each pixel or image."""
    if table is not None:
        counted = counted * ops.take(ops.convert_to_tensor(table, dtype="float32"), labels)
    if sample_weight is None:
        return counted
    extra = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
    if len(extra.shape) == 4:
        extra = ops.squeeze(extra, axis=-1)
    while len(extra.shape) < 3:
        extra = ops.expand_dims(extra, axis=-1)
    return counted * extra


def _checked(labels: Any, classes: int, ignore_label: int) -> tuple[Any, Any]:
    counts = ops.not_equal(labels, ignore_label)
    labels = ops.where(counts, labels, ops.zeros_like(labels))
    extremes = ops.stack([ops.min(labels), ops.max(labels)])
    legal = ops.logical_and(extremes[0] >= 0, extremes[1] < classes)
    assert_condition(
        legal,
        f"Labels must be classes 0 to {classes - 1}, or {ignore_label} where a pixel does not count.",
        extremes,
    )
    return ops.clip(labels, 0, classes - 1), ops.cast(counts, "float32") * ops.where(legal, 1.0, float("nan"))


def _compatible(first: Sequence[int | None], second: Sequence[int | None]) -> bool:
    return len(first) == len(second) and all(a == b for a, b in zip(first, second, strict=True) if None not in (a, b))
