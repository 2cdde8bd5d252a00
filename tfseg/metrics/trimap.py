"""Trimap mIoU: mean intersection over union in bands around boundaries."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from tfseg.metrics.counting import PixelMetric, intersection_over_union, mean
from tfseg.metrics.scores import scores
from tfseg.ops.boundary import near_boundary
from tfseg.ops.confusion import confusion_matrices
from tfseg.serialization import serializable
from tfseg.typing import Tensor

RADII = (1, 2, 3, 5, 10, 15, 20)


@serializable
class TrimapMeanIoU(PixelMetric):
    """Computes the mean IoU of the pixels within `r` pixels of a ground-truth boundary, for each radius `r`.

    A pixel is within `r` pixels of a boundary if the square of side `2 r + 1` centered on it contains another label.
    `ignore_label` counts as a label here, since void marks the boundaries in PASCAL VOC. The trimaps of DeepLab are
    the void pixels dilated by such a square. Here, a boundary is also where two classes touch without void in between.
    The image border is not a boundary. Pixels labeled `ignore_label` are not counted.

    Each band has an int64 confusion matrix summed over all images. Its mean IoU is that of `SegmentationMetrics` with
    `absent="union"`: over the classes in the band, in ground truth or prediction. Bands are nested: each pixel is
    counted once, in the narrowest band that contains it, and matrices are accumulated over the bands.

    Example:

    >>> import numpy as np
    >>> labels = np.array([[[0, 0, 0, 1, 1, 1]]])
    >>> metric = TrimapMeanIoU(2, radii=(1, 3))
    >>> metric.update_state(labels, np.array([[[0, 0, 1, 1, 1, 1]]]))  # an error next to the boundary
    >>> {name: round(float(value), 4) for name, value in metric.result().items()}
    {'trimap_miou_1': 0.25, 'trimap_miou_3': 0.7083}

    Args:
        num_classes: Integer, number of classes.
        radii: Increasing integers, widths of the bands on each side of a boundary in pixels.
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
        A dict of scalars, `trimap_miou_<radius>`.

    Raises:
        ValueError: If `num_classes` is less than 1, if `radii` are not increasing integers from 1, if `y_true` is
            neither of integers nor of floats, if float predictions do not have one channel per class, if
            `sample_weight` is given, or if `ignore_label` and `ignore_class` differ.

    Reference:
        Kohli, Ladicky and Torr, Robust Higher Order Potentials for Enforcing Label Consistency (2009).
        Chen, Papandreou, Kokkinos, Murphy and Yuille, Semantic Image Segmentation with Deep Convolutional Nets and
        Fully Connected CRFs (2015), section 5 and figure 5.
    """

    def __init__(
        self,
        num_classes: int,
        radii: Sequence[int] = RADII,
        ignore_label: int | None = None,
        name: str = "trimap",
        *,
        ignore_class: int | None = None,
    ) -> None:
        if not _increasing(radii):
            raise ValueError(f"`radii` must be increasing integers, the first at least 1. Received: radii={radii}")
        super().__init__(num_classes, ignore_label, ignore_class, (len(radii), num_classes, num_classes + 1), name)
        self.radii = tuple(radii)

    def count(self, labels: Tensor, ids: Tensor) -> Tensor:
        """Computes one confusion matrix per ring, the part of a band outside of the next narrower one."""
        bands = near_boundary(labels, self.radii)
        ring = len(bands) - sum(ops.cast(band, "int32") for band in bands)
        return confusion_matrices(labels, ids, ring, len(bands), self.num_classes, self.ignore_label)

    def result(self) -> dict[str, Any]:
        """Computes the mean IoU of each band over all pixels counted since the last reset."""
        bands = ops.cast(ops.cumsum(self.confusion, axis=0), "float64")
        _, _, union, iou = intersection_over_union(bands)
        values = ops.cast(mean(iou, union), "float32")
        return {f"trimap_miou_{radius}": values[band] for band, radius in enumerate(self.radii)}

    def matrices(self) -> np.ndarray:
        """Returns the int64 confusion matrices of the bands, `[radii, classes, classes + 1]`."""
        return np.cumsum(self.confusion.numpy(), axis=0)

    def report(self) -> dict[str, float]:
        """Returns the mean IoU by radius in double precision, for JSON."""
        return {str(radius): scores(matrix)["miou"] for radius, matrix in zip(self.radii, self.matrices(), strict=True)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "radii": self.radii}


def _increasing(radii: Sequence[int]) -> bool:
    whole = all(isinstance(radius, int) and radius >= 1 for radius in radii)
    return whole and len(radii) > 0 and list(radii) == sorted(set(radii))
