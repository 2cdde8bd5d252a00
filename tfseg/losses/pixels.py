"""Checks and pixel weights that all losses share."""

from collections.abc import Sequence

from keras import ops

from tfseg.ops.label_maps import expected_labels
from tfseg.ops.runtime import assert_condition
from tfseg.typing import Tensor


def check_from_logits(from_logits: bool) -> None:
    """Checks the argument `from_logits` of a loss that only takes logits.

    Raises:
        ValueError: If `from_logits` is not True.
    """
    if from_logits is not True:
        raise ValueError(
            "`from_logits` must be True: this loss takes logits, not probabilities. Remove the softmax at the end of "
            f"the model, and leave `from_logits` out. Received: from_logits={from_logits!r}"
        )


def pixel_labels(labels: Tensor, logits_shape: Sequence[int | None], ignore_label: int) -> tuple[Tensor, Tensor]:
    """Returns class ids and a mask of the pixels that count.

    Args:
        labels: Integers `[batch, height, width]` or `[batch, height, width, 1]`.
        logits_shape: Shape of the logits `[batch, height, width, classes]`.
        ignore_label: Label of the pixels to ignore.

    Returns:
        int64 class ids `[batch, height, width]`, 0 at ignored pixels, and a float32 mask `[batch, height, width]`, 1 at
        pixels that count and 0 at ignored ones. If a label is invalid and the runtime check is left out, the mask is
        NaN.

    Raises:
        ValueError: If shapes do not match.
    """
    if len(labels.shape) == len(logits_shape) and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, axis=-1)
    num_classes = logits_shape[-1]
    if num_classes is None or len(logits_shape) != 4 or not _compatible(labels.shape, logits_shape[:-1]):
        raise ValueError(
            "Labels must be [batch, height, width] and logits [batch, height, width, classes], of the same height and "
            f"width. Received: y_true of shape {tuple(labels.shape)}, y_pred of shape {tuple(logits_shape)}"
        )
    return _checked(ops.cast(labels, "int64"), num_classes, ignore_label)


def weighted(
    counted: Tensor, labels: Tensor, class_weights: Sequence[float] | None, sample_weight: Tensor | None
) -> Tensor:
    """Multiplies the mask `counted` by the class weights and by `sample_weight`, one per pixel or one per image."""
    if class_weights is not None:
        counted = counted * ops.take(ops.convert_to_tensor(class_weights, dtype="float32"), labels)
    if sample_weight is None:
        return counted
    weights = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
    if len(weights.shape) == 4:
        weights = ops.squeeze(weights, axis=-1)
    while len(weights.shape) < 3:
        weights = ops.expand_dims(weights, axis=-1)
    return counted * weights


def _checked(labels: Tensor, num_classes: int, ignore_label: int) -> tuple[Tensor, Tensor]:
    counts = ops.not_equal(labels, ignore_label)
    labels = ops.where(counts, labels, ops.zeros_like(labels))
    extremes = ops.stack([ops.min(labels), ops.max(labels)])
    valid = ops.logical_and(extremes[0] >= 0, extremes[1] < num_classes)
    assert_condition(valid, expected_labels(num_classes, ignore_label), extremes)
    return ops.clip(labels, 0, num_classes - 1), ops.cast(counts, "float32") * ops.where(valid, 1.0, float("nan"))


def _compatible(first: Sequence[int | None], second: Sequence[int | None]) -> bool:
    return len(first) == len(second) and all(a == b for a, b in zip(first, second, strict=True) if None not in (a, b))
