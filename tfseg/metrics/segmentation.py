"""Every figure of a segmentation from one integer confusion matrix."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from keras import ops

from tfseg.metrics.counting import PixelMetric, intersection_over_union, mean
from tfseg.metrics.scores import Absent, report
from tfseg.ops.confusion import confusion_matrix
from tfseg.serialization import serializable


@serializable
class SegmentationMetrics(PixelMetric):
    """Mean intersection over union and its companions, over all pixels seen so far.

    One int64 matrix counts the pixels of class `i` that were predicted as `j`; it stays exact past 2^31 pixels. The
    figures are those of `tfseg.metrics.scores`, and `result()` is a dict of them, so that Keras logs `miou`,
    `pixel_accuracy`, `mean_accuracy` and `frequency_weighted_iou`, and in validation the same with `val_` before them.
    Pixels labeled `ignore_label` are not counted. A labeled pixel that is predicted as `ignore_label`, or as any
    other id that is no class, is a miss.

    Example:

    >>> import numpy as np
    >>> metric = SegmentationMetrics(num_classes=2)
    >>> metric.update_state(np.array([[[0, 1, 1, 255]]]), np.array([[[0, 1, 0, 0]]]))
    >>> round(float(metric.result()["miou"]), 6)
    0.5

    Args:
        num_classes: the number of classes.
        ignore_label: Integer, label of pixels that do not count. Defaults to 255.
        absent: `"union"`: a class that is predicted but not in ground truth counts as 0, a class that is in neither is
            left out of the mean. `"ground_truth"`: both are left out.
        name: Name of the metric; it is not part of the logged names.
        ignore_class: Alias of `ignore_label`, the name that Keras uses. None if not given.

    Call arguments:
        y_true: Labels, integers or floats that are whole numbers.
        y_pred: logits or probabilities (floats, one for each class), or predicted ids (integers).
        sample_weight: not supported; a pixel that does not count is labeled `ignore_label`.

    Input shape:
        `y_true` `[batch, height, width]` or `[batch, height, width, 1]`; `y_pred` `[batch, height, width, classes]`, or
        the shapes of `y_true` for ids.

    Output shape:
        A dict of scalars.

    Raises:
        ValueError: labels that are neither integers nor floats,
            float predictions whose last axis is not the classes, sample weights,
            `ignore_class` beside another `ignore_label`.
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

    def count(self, labels: Any, ids: Any) -> Any:
        """The confusion matrix of a batch."""
        return confusion_matrix(labels, ids, self.num_classes, self.ignore_label)

    def result(self) -> dict[str, Any]:
        """The figures of what was counted so far."""
        hits, truth, union, iou = intersection_over_union(ops.cast(self.confusion, "float64"))
        figures = {
            "miou": mean(iou, union if self.absent == "union" else truth),
            "pixel_accuracy": ops.divide_no_nan(ops.sum(hits), ops.sum(truth)),
            "mean_accuracy": mean(ops.divide_no_nan(hits, truth), truth),
            "frequency_weighted_iou": ops.divide_no_nan(ops.sum(truth * iou), ops.sum(truth)),
        }
        return {name: ops.cast(value, "float32") for name, value in figures.items()}

    def matrix(self) -> np.ndarray:
        """int64 `[classes, classes + 1]`: pixels of class `i` predicted as `j`, as no class in the last column."""
        return np.asarray(self.confusion.numpy())

    def report(self, names: Sequence[str]) -> dict[str, Any]:
        """The figures in double precision, with `per_class` and the matrix, ready for JSON."""
        return report(self.matrix(), names, self.absent)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "absent": self.absent}
