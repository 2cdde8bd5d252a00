"""Dice coefficient, precision and recall, averaged over classes."""

from typing import Any

import numpy as np
from keras import ops

from tfseg.metrics.counting import PixelMetric, intersection_over_union, mean
from tfseg.ops.confusion import confusion_matrix
from tfseg.serialization import serializable
from tfseg.typing import Tensor


class ClassMean(PixelMetric):
    """Base class of means over classes of a ratio of counts. Subclasses implement `ratio`.

    The mean is over the classes in ground truth or prediction. A ratio without pixels, such as the precision of a class
    that is never predicted, counts as 0.
    """

    NAME: str

    def __init__(
        self,
        num_classes: int,
        ignore_label: int | None = None,
        name: str | None = None,
        *,
        ignore_class: int | None = None,
    ) -> None:
        shape = (num_classes, num_classes + 1)
        super().__init__(num_classes, ignore_label, ignore_class, shape, name or self.NAME)

    def count(self, labels: Tensor, ids: Tensor) -> Tensor:
        """Computes the confusion matrix of a batch."""
        return confusion_matrix(labels, ids, self.num_classes, self.ignore_label)

    def ratio(self, hits: Tensor, truth: Tensor, predicted: Tensor) -> Tensor:
        """Computes the ratio of each class from true positives, labeled and predicted pixels, `[classes]`."""
        raise NotImplementedError

    def per_class(self) -> np.ndarray:
        """Returns the ratio of each class, float64 `[classes]`, NaN if it is neither in ground truth nor prediction."""
        values, union = self._ratios()
        return np.where(np.asarray(union) > 0, np.asarray(values), np.nan)

    def result(self) -> dict[str, Any]:
        """Computes the mean of all pixels counted since the last reset."""
        return {self.NAME: ops.cast(mean(*self._ratios()), "float32")}

    def _ratios(self) -> tuple[Tensor, Tensor]:
        hits, truth, union, _ = intersection_over_union(ops.cast(self.confusion, "float64"))
        return self.ratio(hits, truth, union - truth + hits), union


@serializable
class DiceCoefficient(ClassMean):
    """Computes the mean Dice coefficient, `2 TP / (2 TP + FP + FN)`, over the classes in ground truth or prediction.

    Pixels are counted over all images; pixels labeled `ignore_label` are not counted.

    Example:

    >>> import numpy as np
    >>> metric = DiceCoefficient(num_classes=2)
    >>> metric.update_state(np.array([[[0, 1, 1, 255]]]), np.array([[[0, 1, 0, 0]]]))
    >>> round(float(metric.result()["dice"]), 4)  # (2 / 3 + 2 / 3) / 2
    0.6667

    Args:
        num_classes: Integer, number of classes.
        ignore_label: Integer, label of the pixels to ignore. Defaults to 255.
        name: Name of the metric. Not part of the logged names.
        ignore_class: Alias of `ignore_label`, the name used by Keras.

    Call arguments:
        y_true: Label map, of integers or of floats that are whole numbers.
        y_pred: Logits or probabilities (floats, one per class), or class ids (integers).
        sample_weight: Not supported. Use `ignore_label` to exclude pixels.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`,
        or the shape of `y_true` for class ids.

    Output shape:
        A dict with one scalar, `dice`.

    Raises:
        ValueError: As for `tfseg.metrics.SegmentationMetrics`.

    Reference:
        Dice, Measures of the Amount of Ecologic Association Between Species (1945).
    """

    NAME = "dice"

    def ratio(self, hits: Tensor, truth: Tensor, predicted: Tensor) -> Tensor:
        """Computes the Dice coefficient of each class."""
        return ops.divide_no_nan(2 * hits, truth + predicted)


@serializable
class Precision(ClassMean):
    """Computes the mean precision, `TP / (TP + FP)`, over the classes in ground truth or prediction.

    Pixels are counted over all images; pixels labeled `ignore_label` are not counted. The precision of a class that is
    never predicted counts as 0.

    Example:

    >>> import numpy as np
    >>> metric = Precision(num_classes=2)
    >>> metric.update_state(np.array([[[0, 1, 1, 255]]]), np.array([[[0, 1, 0, 0]]]))
    >>> float(metric.result()["precision"])  # (1 / 2 + 1 / 1) / 2
    0.75

    Args:
        num_classes: Integer, number of classes.
        ignore_label: Integer, label of the pixels to ignore. Defaults to 255.
        name: Name of the metric. Not part of the logged names.
        ignore_class: Alias of `ignore_label`, the name used by Keras.

    Call arguments:
        y_true: Label map, as for `tfseg.metrics.DiceCoefficient`.
        y_pred: Logits, probabilities or class ids.
        sample_weight: Not supported. Use `ignore_label` to exclude pixels.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`,
        or the shape of `y_true` for class ids.

    Output shape:
        A dict with one scalar, `precision`.

    Raises:
        ValueError: As for `tfseg.metrics.SegmentationMetrics`.
    """

    NAME = "precision"

    def ratio(self, hits: Tensor, truth: Tensor, predicted: Tensor) -> Tensor:
        """Computes the precision of each class."""
        return ops.divide_no_nan(hits, predicted)


@serializable
class Recall(ClassMean):
    """Computes the mean recall, `TP / (TP + FN)`, over the classes in ground truth or prediction.

    Pixels are counted over all images; pixels labeled `ignore_label` are not counted. The recall of a class that is
    predicted but not in the ground truth counts as 0, unlike in `mean_accuracy` of
    `tfseg.metrics.SegmentationMetrics`, which is over the classes of the ground truth.

    Example:

    >>> import numpy as np
    >>> metric = Recall(num_classes=2)
    >>> metric.update_state(np.array([[[0, 1, 1, 255]]]), np.array([[[0, 1, 0, 0]]]))
    >>> float(metric.result()["recall"])  # (1 / 1 + 1 / 2) / 2
    0.75

    Args:
        num_classes: Integer, number of classes.
        ignore_label: Integer, label of the pixels to ignore. Defaults to 255.
        name: Name of the metric. Not part of the logged names.
        ignore_class: Alias of `ignore_label`, the name used by Keras.

    Call arguments:
        y_true: Label map, as for `tfseg.metrics.DiceCoefficient`.
        y_pred: Logits, probabilities or class ids.
        sample_weight: Not supported. Use `ignore_label` to exclude pixels.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`,
        or the shape of `y_true` for class ids.

    Output shape:
        A dict with one scalar, `recall`.

    Raises:
        ValueError: As for `tfseg.metrics.SegmentationMetrics`.
    """

    NAME = "recall"

    def ratio(self, hits: Tensor, truth: Tensor, predicted: Tensor) -> Tensor:
        """Computes the recall of each class."""
        return ops.divide_no_nan(hits, truth)
