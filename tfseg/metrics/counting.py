"""Base class of metrics that count pixels, and the mean over classes."""

from typing import Any

import keras
from keras import ops

from tfseg.ops.label_maps import integer_labels, resolve_ignore_label
from tfseg.typing import Tensor


class PixelMetric(keras.metrics.Metric):
    """Base class of metrics that count pixels in an int64 variable. Subclasses implement `count`.

    Args:
        num_classes: Integer, number of classes.
        ignore_label: Integer, label of the pixels to ignore. Defaults to 255.
        ignore_class: Alias of `ignore_label`, the name used by Keras.
        counts: Shape of the variable.
        name: Name of the metric.

    Raises:
        ValueError: If `num_classes` is less than 1, or if `ignore_label` and `ignore_class` differ.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_label: int | None,
        ignore_class: int | None,
        counts: tuple[int, ...],
        name: str,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"`num_classes` must be at least 1. Received: num_classes={num_classes}")
        super().__init__(name=name, dtype="float32")
        self.num_classes = num_classes
        self.ignore_label = resolve_ignore_label(ignore_label, ignore_class)
        self.confusion = self.add_variable(
            counts, initializer="zeros", dtype="int64", aggregation="sum", name="confusion"
        )

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds the counts of a batch."""
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} does not support `sample_weight`. Set the labels of pixels to ignore to "
                f"ignore_label={self.ignore_label} instead. Received: sample_weight"
            )
        labels, predicted = _without_channel(integer_labels(y_true)), self.predicted(ops.convert_to_tensor(y_pred))
        pairs = zip(labels.shape, predicted.shape[:3], strict=False)
        if len(labels.shape) != 3 or any(None not in pair and pair[0] != pair[1] for pair in pairs):
            raise ValueError(
                "Labels must be [batch, height, width], and predictions of the same batch size, height and width. "
                f"Received: y_true of shape {tuple(labels.shape)}, y_pred of shape {tuple(predicted.shape)}"
            )
        self.add(labels, predicted)

    def add(self, labels: Tensor, predicted: Tensor) -> None:
        """Adds the counts of a batch from integer labels `[batch, height, width]` and the result of `predicted`."""
        self.confusion.assign_add(ops.cast(self.count(labels, predicted), "int64"))

    def count(self, labels: Tensor, ids: Tensor) -> Tensor:
        """Computes the counts of a batch from labels and class ids, both integers `[batch, height, width]`."""
        raise NotImplementedError

    def predicted(self, predictions: Tensor) -> Tensor:
        """Returns what `count` needs of predictions: by default the class ids, integers `[batch, height, width]`."""
        if "int" in keras.backend.standardize_dtype(predictions.dtype):
            return _without_channel(predictions)
        self.check_channels(predictions)
        return ops.top_k(predictions, k=1)[1][..., 0]  # on CPUs three times as fast as argmax over a short last axis

    def check_channels(self, predictions: Tensor) -> None:
        """Checks the shape of logits or probabilities.

        Raises:
            ValueError: If there is not one channel per class.
        """
        if len(predictions.shape) != 4 or predictions.shape[-1] != self.num_classes:
            raise ValueError(
                "Predictions must be integer class ids, or floats of shape [batch, height, width, "
                f"{self.num_classes}]. Received: y_pred of dtype "
                f"{keras.backend.standardize_dtype(predictions.dtype)} and shape {tuple(predictions.shape)}"
            )

    def get_config(self) -> dict[str, Any]:
        return {"num_classes": self.num_classes, "ignore_label": self.ignore_label, "name": self.name}


def intersection_over_union(confusion: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Computes true positives, ground-truth pixels, union and IoU per class.

    Args:
        confusion: Confusion matrices `[..., classes, classes + 1]`.

    Returns:
        Four tensors `[..., classes]`.
    """
    num_classes = confusion.shape[-2]
    square = confusion[..., :num_classes]
    hits, truth = ops.diagonal(square, axis1=-2, axis2=-1), ops.sum(confusion, axis=-1)
    union = truth + ops.sum(square, axis=-2) - hits
    return hits, truth, union, ops.divide_no_nan(hits, union)


def mean(values: Tensor, counts: Tensor) -> Tensor:
    """Computes the mean over the classes (the last axis) whose count is positive, or 0 if there are none."""
    counted = ops.cast(counts > 0, values.dtype)
    return ops.divide_no_nan(ops.sum(values * counted, axis=-1), ops.sum(counted, axis=-1))


def _without_channel(ids: Tensor) -> Tensor:
    return ops.squeeze(ids, axis=-1) if len(ids.shape) == 4 and ids.shape[-1] == 1 else ids
