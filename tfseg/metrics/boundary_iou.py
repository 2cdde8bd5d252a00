"""Intersection over union of the boundaries of segments instead of their areas."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from tfseg.metrics.counting import PixelMetric, intersection_over_union, mean
from tfseg.metrics.scores import per_class
from tfseg.ops.boundary import near_boundary
from tfseg.ops.confusion import assert_labels, confusion_matrix
from tfseg.serialization import serializable


@serializable
class BoundaryIoU(PixelMetric):
    """Mean over the classes of the intersection over union of boundary regions.

    With `G` and `P` the pixels of a class in ground truth and prediction, and `G_d` those of `G` that are within `d`
    pixels of its contour, `P_d` those of `P` within `d` of its own: `|G_d & P_d| / |G_d | P_d|`, where
    `d = max(1, round(dilation_ratio * sqrt(height^2 + width^2)))`. `G_d` is `G` without its erosion, `d` times by a
    square of side 3; the border of the image is a contour. Large segments gain nothing from their inside.

    The counts are summed over all images for each class, as the mean intersection over union's are, and then divided;
    the paper itself, which is of instances, divides for each of them. The mean is over the classes of which a boundary
    region has a pixel. Pixels labeled `ignore_label` are of no class, in ground truth and prediction alike, so a
    prediction that is right wherever it counts has 1.

    Example:

    >>> import numpy as np
    >>> labels, ids = np.zeros((1, 8, 8), int), np.zeros((1, 8, 8), int)
    >>> labels[:, :, 4:] = 1
    >>> ids[:, :, 5:] = 1  # one column too late; d is 1, so boundary regions are frames one pixel wide
    >>> metric = BoundaryIoU(2)
    >>> metric.update_state(labels, ids)
    >>> round(float(metric.result()["boundary_iou"]), 4)
    0.4808

    Args:
        num_classes: the number of classes.
        dilation_ratio: `d`, the width of the boundary region, as a part of the image's diagonal.
        ignore_label: Integer, label of pixels that do not count. Defaults to 255.
        name: Name of the metric; it is not part of the logged name.
        ignore_class: Alias of `ignore_label`, the name that Keras uses. None if not given.

    Call arguments:
        y_true: Labels, integers or floats that are whole numbers.
        y_pred: logits or probabilities (floats, one for each class), or predicted ids (integers).
        sample_weight: not supported; a pixel that does not count is labeled `ignore_label`.

    Input shape:
        `y_true` `[batch, height, width]` or `[batch, height, width, 1]`; `y_pred` `[batch, height, width, classes]`, or
        the shapes of `y_true` for ids.

    Output shape:
        A dict of one scalar, `boundary_iou`.

    Raises:
        ValueError: a ratio that is not between 0 and 1, labels that are neither integers nor floats,
            float predictions whose last axis is not the
            classes, sample weights.

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
                "`dilation_ratio` is a part of the image's diagonal, between 0 and 1. "
                f"Received: dilation_ratio={dilation_ratio}"
            )
        # A further class is for pixels that are in no boundary region, a further column for what cannot be: no id.
        super().__init__(num_classes, ignore_label, ignore_class, (num_classes + 1, num_classes + 2), name)
        self.dilation_ratio = dilation_ratio

    def count(self, labels: Any, ids: Any) -> Any:
        """Pixels by the class whose boundary region they are in, in ground truth and in prediction."""
        labels, ids, none = ops.cast(labels, "int32"), ops.cast(ids, "int32"), self.num_classes
        counted = assert_labels(labels, self.num_classes, self.ignore_label)
        valid = ops.logical_and(counted, ops.logical_and(ids >= 0, ids < self.num_classes))
        both = ops.concatenate([ops.where(counted, labels, none), ops.where(valid, ids, none)])
        [band] = near_boundary(both, [self._width(both)], outside=-1)
        truth, predicted = ops.split(ops.where(band, both, none), 2)
        return confusion_matrix(truth, predicted, self.num_classes + 1)

    def result(self) -> dict[str, Any]:
        """The mean over the classes, of what was counted so far."""
        _, _, union, iou = intersection_over_union(ops.cast(self.confusion, "float64"))
        return {"boundary_iou": ops.cast(mean(iou[:-1], union[:-1]), "float32")}

    def per_class(self) -> tuple[float | None, ...]:
        """The figure of each class in double precision, None where the class has no boundary."""
        return per_class(self.confusion.numpy())[:-1]

    def report(self, names: Sequence[str]) -> dict[str, Any]:
        """The mean and the figure of each class in double precision, ready for JSON."""
        values = self.per_class()
        there = [value for value in values if value is not None]
        return {
            "iou": float(np.mean(there)) if there else 0.0,
            "dilation_ratio": self.dilation_ratio,
            "per_class": dict(zip(names, values, strict=True)),
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dilation_ratio": self.dilation_ratio}

    def _width(self, labels: Any) -> Any:
        """`d`: an int where the size is known, as JAX compiles no other. Halves go to the even neighbor."""
        height, width = ops.shape(labels)[1:]
        if isinstance(height, int) and isinstance(width, int):
            return max(1, round(self.dilation_ratio * math.sqrt(height**2 + width**2)))
        diagonal = ops.sqrt(ops.cast(height, "float64") ** 2 + ops.cast(width, "float64") ** 2)
        return ops.maximum(1, ops.cast(ops.round(self.dilation_ratio * diagonal), "int32"))
