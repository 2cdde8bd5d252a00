"""Metrics of semantic segmentation from one integer confusion matrix."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from keras import ops

from tfseg.metrics.counting import PixelMetric, intersection_over_union, mean
from tfseg.metrics.scores import Absent, report
from tfseg.ops.confusion import confusion_matrix
from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class SegmentationMetrics(PixelMetric):
    """Computes mean IoU, pixel accuracy, mean accuracy and frequency-weighted IoU over all pixels.

    The metrics are those of `tfseg.metrics.scores`, computed from an int64 confusion matrix, which is exact beyond 2^31
    pixels. `result()` returns a dict, so Keras logs `miou`, `pixel_accuracy`, `mean_accuracy` and
    `frequency_weighted_iou`, and with the prefix `val_` in validation. Pixels labeled `ignore_label` are not counted. A
    labeled pixel that is predicted as `ignore_label`, or as any other id that is not a class, counts as an error.

    Example:

    >>> import numpy as np
    >>> metric = SegmentationMetrics(num_classes=2)
    >>> metric.update_state(np.array([[[0, 1, 1, 255]]]), np.array([[[0, 1, 0, 0]]]))
    >>> round(float(metric.result()["miou"]), 6)
    0.5

    Args:
        num_classes: Integer, number of classes.
        ignore_label: Integer, label of the pixels to ignore. Defaults to 255.
        absent: `"union"`: a class in the prediction but not in the ground truth has an IoU of 0; a class in neither is
            excluded from the mean. `"ground_truth"`: both are excluded.
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
        A dict of scalars.

    Raises:
        ValueError: If `num_classes` is less than 1, if `absent` is neither `"union"` nor `"ground_truth"`, if `y_true`
            is neither of integers nor of floats, if float predictions do not have one channel per class, if
            `sample_weight` is given, or if `ignore_label` and `ignore_class` differ.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_label: int | None = None,
        absent: Absent = "union",
        name: str = "segmentation",
        *,
        ignore_class: int | None = None,
    ) -> None:
        if absent not in get_args(Absent):
            raise ValueError(f'`absent` must be "union" or "ground_truth". Received: absent={absent!r}')
        super().__init__(num_classes, ignore_label, ignore_class, (num_classes, num_classes + 1), name)
        self.absent = absent

    def count(self, labels: Tensor, ids: Tensor) -> Tensor:
        """Computes the confusion matrix of a batch."""
        return confusion_matrix(labels, ids, self.num_classes, self.ignore_label)

    def result(self) -> dict[str, Any]:
        """Computes the metrics of all pixels counted since the last reset."""
        hits, truth, union, iou = intersection_over_union(ops.cast(self.confusion, "float64"))
        metrics = {
            "miou": mean(iou, union if self.absent == "union" else truth),
            "pixel_accuracy": ops.divide_no_nan(ops.sum(hits), ops.sum(truth)),
            "mean_accuracy": mean(ops.divide_no_nan(hits, truth), truth),
            "frequency_weighted_iou": ops.divide_no_nan(ops.sum(truth * iou), ops.sum(truth)),
        }
        return {name: ops.cast(value, "float32") for name, value in metrics.items()}

    def matrix(self) -> np.ndarray:
        """Returns the int64 confusion matrix `[classes, classes + 1]`: pixels of class `i` predicted as class `j`.

        The last column counts pixels predicted as none of the classes.
        """
        return np.asarray(self.confusion.numpy())

    def report(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns `tfseg.metrics.report` of the matrix: the metrics in double precision, for JSON."""
        return report(self.matrix(), names, self.absent)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "absent": self.absent}
