"""How well a segmentation does near the boundaries: mean intersection over union in bands around them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from tfseg.metrics.counting import PixelMetric, intersection_over_union, mean
from tfseg.metrics.scores import scores
from tfseg.ops.boundary import near_boundary
from tfseg.ops.confusion import confusion_matrices
from tfseg.serialization import serializable

RADII = (1, 2, 3, 5, 10, 15, 20)


@serializable
class TrimapMeanIoU(PixelMetric):
    """Mean intersection over union of the pixels within `r` pixels of a boundary of the ground truth, for each `r`.

    A pixel is within `r` of a boundary if the square of side `2 r + 1` around it has a pixel of another label than its
    own. `ignore_label` is a label here: VOC's void lies on the boundaries, so what lies beside it is near one. Trimaps
    of DeepLab are void dilated by that square, and nothing else; here a boundary is also where two classes touch with
    no void between. The border of the image is no boundary. Pixels of `ignore_label` themselves do not count.

    Each band has a confusion matrix, exact in int64 and summed over all images, and the mean is that of
    `SegmentationMetrics` with `absent="union"`: over the classes that the band has in ground truth or prediction.
    Bands are nested, so each pixel is counted once, in the narrowest that has it, and the counts are summed up.

    Example:

    >>> import numpy as np
    >>> labels = np.array([[[0, 0, 0, 1, 1, 1]]])
    >>> metric = TrimapMeanIoU(2, radii=(1, 3))
    >>> metric.update_state(labels, np.array([[[0, 0, 1, 1, 1, 1]]]))  # wrong beside the boundary, right elsewhere
    >>> {name: round(float(value), 4) for name, value in metric.result().items()}
    {'trimap_miou_1': 0.25, 'trimap_miou_3': 0.7083}

    Args:
        num_classes: the number of classes.
        radii: widths of the band on each side of a boundary, in pixels, increasing.
        ignore_label: Integer, label of pixels that do not count. Defaults to 255.
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
        A dict of scalars, `trimap_miou_<radius>`.

    Raises:
        ValueError: radii that do not increase from 1 or more, labels that are neither integers nor
            floats, float predictions whose last axis is not
            the classes, sample weights, `ignore_class` beside another
            `ignore_label`.

    Reference:
        Kohli, Ladicky and Torr, Robust Higher Order Potentials for Enforcing Label Consistency (2009).
        Chen, Papandreou, Kokkinos, Murphy and Yuille, Semantic Image Segmentation with Deep Convolutional Nets and
        Fully Connected CRFs (2015), section 5.3 and figure 6.
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

    def count(self, labels: Any, ids: Any) -> Any:
        """A confusion matrix for each ring."""
        bands = near_boundary(labels, self.radii)
        ring = len(bands) - sum(ops.cast(band, "int32") for band in bands)
        return confusion_matrices(labels, ids, ring, len(bands), self.num_classes, self.ignore_label)

    def result(self) -> dict[str, Any]:
        """The mean intersection over union of each band, of what was counted so far."""
        bands = ops.cast(ops.cumsum(self.confusion, axis=0), "float64")
        _, _, union, iou = intersection_over_union(bands)
        values = ops.cast(mean(iou, union), "float32")
        return {f"trimap_miou_{radius}": values[band] for band, radius in enumerate(self.radii)}

    def matrices(self) -> np.ndarray:
        """int64 `[radii, classes, classes + 1]`: for each band the confusion matrix of its pixels."""
        return np.cumsum(self.confusion.numpy(), axis=0)

    def report(self) -> dict[str, float]:
        """The mean intersection over union by radius, in double precision, ready for JSON."""
        return {str(radius): scores(matrix)["miou"] for radius, matrix in zip(self.radii, self.matrices(), strict=True)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "radii": self.radii}


def _increasing(radii: Sequence[int]) -> bool:
    whole = all(isinstance(radius, int) and radius >= 1 for radius in radii)
    return whole and len(radii) > 0 and list(radii) == sorted(set(radii))
