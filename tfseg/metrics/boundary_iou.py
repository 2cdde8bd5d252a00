"""Boundary IoU: intersection over union of boundary regions."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from tfseg.metrics.counting import PixelMetric, intersection_over_union, mean
from tfseg.metrics.scores import per_class
from tfseg.ops.boundary import near_boundary
from tfseg.ops.confusion import assert_labels, confusion_matrix
from tfseg.ops.label_maps import int32_ids
from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class BoundaryIoU(PixelMetric):
    """Computes the mean boundary IoU over the classes.

    Formula:

    ```
    boundary_iou = |G_d & P_d| / |G_d | P_d|
    d = max(1, round(dilation_ratio * sqrt(height^2 + width^2)))
    ```

    `G` and `P` are the pixels of a class in ground truth and prediction, `G_d` and `P_d` those within `d` pixels of
    their contours. `G_d` is `G` minus its erosion (`d` iterations with a 3x3 square); the image border is a contour.
    The interior of large segments has no effect.

    Counts are summed over all images per class before they are divided, as for mean IoU; the paper evaluates instances
    and divides per instance. The mean is taken over the classes with a nonempty boundary region. Pixels labeled
    `ignore_label` belong to no class in ground truth and prediction, so a prediction that is correct at all other
    pixels has a boundary IoU of 1.

    Example:

    >>> import numpy as np
    >>> labels, ids = np.zeros((1, 8, 8), int), np.zeros((1, 8, 8), int)
    >>> labels[:, :, 4:] = 1
    >>> ids[:, :, 5:] = 1  # shifted by one column; d is 1, so boundary regions are one pixel wide
    >>> metric = BoundaryIoU(2)
    >>> metric.update_state(labels, ids)
    >>> round(float(metric.result()["boundary_iou"]), 4)
    0.4808

    Args:
        num_classes: Integer, number of classes.
        dilation_ratio: Float, width `d` of the boundary region relative to the image diagonal.
        ignore_label: Integer, label of the pixels to ignore. Defaults to 255.
        name: Name of the metric. Not part of the logged name.
        ignore_class: Alias of `ignore_label`, the name used by Keras.

    Call arguments:
        y_true: Label map, of integers or of floats that are whole numbers.
        y_pred: Logits or probabilities (floats, one per class), or class ids (integers).
        sample_weight: Not supported. Use `ignore_label` to exclude pixels.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`,
        or the shape of `y_true` for class ids.

    Output shape:
        A dict with one scalar, `boundary_iou`.

    Raises:
        ValueError: If `num_classes` is less than 1, if `dilation_ratio` is not between 0 and 1, if `y_true` is neither
            of integers nor of floats, if float predictions do not have one channel per class, if `sample_weight` is
            given, or if `ignore_label` and `ignore_class` differ.

    Reference:
        Cheng, Girshick, Dollar, Berg and Kirillov, Boundary IoU: Improving Object-Centric Image Segmentation Evaluation
        (2021), section 4.
    """

    def __init__(
        self,
        num_classes: int,
        dilation_ratio: float = 0.02,
        ignore_label: int | None = None,
        name: str = "boundary",
        *,
        ignore_class: int | None = None,
    ) -> None:
        if not 0 < dilation_ratio < 1:
            raise ValueError(
                "`dilation_ratio` must be a fraction of the image diagonal, between 0 and 1. "
                f"Received: dilation_ratio={dilation_ratio}"
            )
        # The additional class is for pixels in no boundary region; the last column, for ids of no class, stays 0.
        super().__init__(num_classes, ignore_label, ignore_class, (num_classes + 1, num_classes + 2), name)
        self.dilation_ratio = dilation_ratio

    def count(self, labels: Tensor, ids: Tensor) -> Tensor:
        """Computes the confusion matrix of boundary regions: pixels by the class whose region contains them."""
        labels, ids, none = int32_ids(labels), int32_ids(ids), self.num_classes
        counted = assert_labels(labels, self.num_classes, self.ignore_label)
        valid = ops.logical_and(counted, ops.logical_and(ids >= 0, ids < self.num_classes))
        both = ops.concatenate([ops.where(counted, labels, none), ops.where(valid, ids, none)])
        [band] = near_boundary(both, [self._width(both)], outside=-1)
        truth, predicted = ops.split(ops.where(band, both, none), 2)
        return confusion_matrix(truth, predicted, self.num_classes + 1)

    def result(self) -> dict[str, Any]:
        """Computes the mean boundary IoU of all pixels counted since the last reset."""
        _, _, union, iou = intersection_over_union(ops.cast(self.confusion, "float64"))
        return {"boundary_iou": ops.cast(mean(iou[:-1], union[:-1]), "float32")}

    def per_class(self) -> tuple[float | None, ...]:
        """Returns the boundary IoU of each class in double precision, None for classes without a boundary region."""
        return per_class(self.confusion.numpy())[:-1]

    def report(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns the mean and the boundary IoU of each class in double precision, for JSON."""
        values = self.per_class()
        present = [value for value in values if value is not None]
        return {
            "iou": float(np.mean(present)) if present else 0.0,
            "dilation_ratio": self.dilation_ratio,
            "per_class": dict(zip(names, values, strict=True)),
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dilation_ratio": self.dilation_ratio}

    def _width(self, labels: Tensor) -> Any:
        """Returns `d`: an int for static sizes, as JAX requires when compiling. Halves are rounded to even."""
        height, width = ops.shape(labels)[1:]
        if isinstance(height, int) and isinstance(width, int):
            return max(1, round(self.dilation_ratio * math.sqrt(height**2 + width**2)))
        diagonal = ops.sqrt(ops.cast(height, "float64") ** 2 + ops.cast(width, "float64") ** 2)
        return ops.maximum(1, ops.cast(ops.round(self.dilation_ratio * diagonal), "int32"))
