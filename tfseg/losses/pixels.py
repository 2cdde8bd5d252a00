"""Pixels of a batch, with their weights, and checks that all losses share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from keras import ops

from tfseg.ops.label_maps import expected_labels
from tfseg.ops.runtime import assert_condition, sum_over_replicas
from tfseg.typing import Tensor


@dataclass(frozen=True)
class Pixels:
    """Pixels of a batch. What is derived from them is computed at most once.

    Args:
        labels: Class ids, int64 `[batch, height, width]`, 0 at ignored pixels.
        logits: Float32 `[batch, height, width, classes]`.
        counted: Float32 `[batch, height, width]`, 1 at labeled pixels and 0 at ignored ones.
        sample_weight: One weight per image or per pixel, or None.
        class_weights: One weight per class, or None.
        included: Booleans of the shape of the logits, False for classes that are left out of the softmax of a pixel;
            None if no class is.
    """

    labels: Tensor
    logits: Tensor
    counted: Tensor
    sample_weight: Tensor | None = None
    class_weights: tuple[float, ...] | None = None
    included: Tensor | None = None

    def __post_init__(self) -> None:
        if self.class_weights is not None and len(self.class_weights) != self.classes:
            raise ValueError(
                f"`class_weights` must have one weight per class of the logits, that is {self.classes}. "
                f"Received: class_weights={self.class_weights}"
            )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.logits.shape[-1])

    @cached_property
    def cross_entropy(self) -> Tensor:
        """Softmax cross-entropy of each pixel, `[batch, height, width]`; that of class 0 at ignored pixels."""
        return ops.sparse_categorical_crossentropy(self.labels, self.logits, from_logits=True)

    @cached_property
    def sampled(self) -> Tensor:
        """Weight of each pixel without class weights, `[batch, height, width]`; 0 at ignored pixels."""
        if self.sample_weight is None:
            return self.counted
        weights, shape = ops.cast(ops.convert_to_tensor(self.sample_weight), "float32"), self.labels.shape
        allowed = [shape[:1], (*shape[:1], 1), shape, (*shape, 1)]
        if not any(_compatible(weights.shape, each) for each in allowed):
            raise ValueError(
                f"`sample_weight` must have one weight per image, [batch], or per pixel, {_sizes(shape)}. Received: "
                f"sample_weight of shape {tuple(weights.shape)}"
            )
        if len(weights.shape) in (2, 4):
            weights = ops.squeeze(weights, axis=-1)
        return self.counted * (weights if len(weights.shape) == 3 else weights[:, None, None])

    @cached_property
    def weights(self) -> Tensor:
        """Weight of each pixel, with that of its class, `[batch, height, width]`; 0 at ignored pixels."""
        if self.class_weights is None:
            return self.sampled
        return self.sampled * ops.take(self.per_class, self.labels)

    @cached_property
    def per_class(self) -> Tensor:
        """Weight of each class, `[classes]`."""
        return ops.convert_to_tensor(self.class_weights or (1.0,) * self.classes, dtype="float32")

    @cached_property
    def images(self) -> Tensor:
        """Weight of each image, `[batch]`: the mean weight of its labeled pixels, and 0 if it has none."""
        return ops.divide_no_nan(ops.sum(self.sampled, axis=(1, 2)), ops.sum(self.counted, axis=(1, 2)))

    @property
    def invalid(self) -> Tensor:
        """Scalar 0, or NaN if a label is invalid and the runtime check is left out."""
        return 0.0 * ops.sum(self.counted[:1, :1, :1])

    def mean(self, values: Tensor) -> Tensor:
        """Computes the weighted mean of values per pixel, `[batch, height, width]`, over the global batch."""
        return share(values, self.weights)

    def image_mean(self, values: Tensor) -> Tensor:
        """Computes the weighted mean of values per image, `[batch]`, over the images of the global batch that have
        labeled pixels."""
        return share(values, self.images)

    def class_mean(self, values: Tensor, present: Tensor) -> Tensor:
        """Computes the weighted mean over the classes that are present, from `[..., classes]`; 0 if none is."""
        weights = ops.cast(present, "float32") * self.per_class
        return ops.divide_no_nan(ops.sum(values * weights, axis=-1), ops.sum(weights, axis=-1))

    def check_image_weights(self) -> None:
        """Checks `sample_weight` of a loss that is not a sum over pixels.

        Raises:
            ValueError: If there is one weight per pixel.
        """
        if self.sample_weight is not None and len(self.sample_weight.shape) > 2:
            raise ValueError(
                "`sample_weight` must have one weight per image, since this loss is not a sum over pixels. Received: "
                f"sample_weight of shape {tuple(self.sample_weight.shape)}"
            )


def share(values: Tensor, weights: Tensor) -> Tensor:
    """Computes the share of this replica in a weighted mean over the global batch; 0 if all weights are 0."""
    return ops.divide_no_nan(ops.sum(values * weights), sum_over_replicas(ops.sum(weights)))


def checked_class_weights(class_weights: Sequence[float] | None) -> tuple[float, ...] | None:
    """Returns the argument `class_weights` of a loss as floats.

    Raises:
        ValueError: If it is empty or a weight is negative.
    """
    if class_weights is None:
        return None
    message = f"`class_weights` must be a nonempty list of numbers >= 0. Received: class_weights={class_weights}"
    if isinstance(class_weights, str | Mapping):
        raise ValueError(message)
    weights = tuple(float(weight) for weight in class_weights)
    if not all(0 <= weight < math.inf for weight in weights) or not weights:
        raise ValueError(message)
    return weights


def whole(name: str, value: int, most: float = math.inf) -> int:
    """Returns an argument as an integer.

    Raises:
        ValueError: If it is no integer, less than 1 or more than `most`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
        limits = "of at least 1" if most == math.inf else f"from 1 to {most}"
        raise ValueError(f"`{name}` must be an integer {limits}. Received: {name}={value!r}")
    return int(value)


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


def _checked(labels: Tensor, num_classes: int, ignore_label: int) -> tuple[Tensor, Tensor]:
    counts = ops.not_equal(labels, ignore_label)
    labels = ops.where(counts, labels, ops.zeros_like(labels))
    extremes = ops.stack([ops.min(labels, initial=0), ops.max(labels, initial=0)])  # of an empty batch, too
    valid = ops.logical_and(extremes[0] >= 0, extremes[1] < num_classes)
    assert_condition(valid, expected_labels(num_classes, ignore_label), extremes)
    return ops.clip(labels, 0, num_classes - 1), ops.cast(counts, "float32") * ops.where(valid, 1.0, float("nan"))


def _sizes(shape: Sequence[int | None]) -> str:
    return f"[{', '.join('?' if each is None else str(each) for each in shape)}]"


def _compatible(first: Sequence[int | None], second: Sequence[int | None]) -> bool:
    return len(first) == len(second) and all(a == b for a, b in zip(first, second, strict=True) if None not in (a, b))
