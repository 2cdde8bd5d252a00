"""Mean IoU of each image, and percentiles over images."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from tfseg.metrics.counting import PixelMetric, intersection_over_union, mean
from tfseg.ops.confusion import confusion_matrices
from tfseg.serialization import serializable
from tfseg.typing import Tensor

PERCENTILES = (5, 25, 50, 75, 95)
BINS = 10_000
"""Number of bins of equal width from 0 to 1: resolution of the percentiles."""


@serializable
class ImageMeanIoU(PixelMetric):
    """Computes the mean IoU of each image: its mean and percentiles over the images.

    The mean IoU of an image is over the classes in its ground truth or prediction. Images without labeled pixels are
    not counted. Percentiles are read from a histogram of 10,000 bins; they are the largest value of a bin up to which
    at least this percentage of the images lies, at most 0.0001 above the exact one.

    The mean over images weights each image equally, a small object as much as a large one; the low percentiles tell
    how bad the worst images are, which the mean IoU over all pixels hides.

    Example:

    >>> import numpy as np
    >>> metric = ImageMeanIoU(num_classes=2, percentiles=(50,))
    >>> metric.update_state(np.array([[[0, 1]], [[0, 1]]]), np.array([[[0, 1]], [[0, 0]]]))
    >>> {name: round(float(value), 4) for name, value in metric.result().items()}  # 1 and (1 / 2 + 0) / 2
    {'image_miou': 0.625, 'image_miou_p50': 0.25}

    Args:
        num_classes: Integer, number of classes.
        percentiles: Increasing numbers between 0 and 100.
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
        A dict of scalars: `image_miou`, and `image_miou_p<percentile>` for each percentile.

    Raises:
        ValueError: If `percentiles` are not increasing numbers between 0 and 100, and as for
            `tfseg.metrics.SegmentationMetrics`.

    Reference:
        Csurka, Larlus and Perronnin, What is a good evaluation measure for semantic segmentation? (2013), section 3.2.
    """

    def __init__(
        self,
        num_classes: int,
        percentiles: Sequence[float] = PERCENTILES,
        ignore_label: int | None = None,
        name: str = "image_miou",
        *,
        ignore_class: int | None = None,
    ) -> None:
        if list(percentiles) != sorted(set(percentiles)) or not all(0 < each < 100 for each in percentiles):
            raise ValueError(
                f"`percentiles` must be increasing numbers between 0 and 100. Received: percentiles={percentiles}"
            )
        super().__init__(num_classes, ignore_label, ignore_class, (BINS,), name)
        self.total = self.add_variable((), initializer="zeros", dtype="float64", aggregation="sum", name="total")
        self.percentiles = tuple(percentiles)

    def add(self, labels: Tensor, predicted: Tensor) -> None:
        """Adds the images of a batch to the histogram, and their values to the total."""
        images = ops.shape(labels)[0]
        owners = ops.broadcast_to(ops.arange(images)[:, None, None], ops.shape(labels))
        matrices = confusion_matrices(labels, predicted, owners, images, self.num_classes, self.ignore_label)
        _, truth, union, iou = intersection_over_union(ops.cast(matrices, "float64"))
        counted, values = ops.sum(truth, axis=-1) > 0, mean(iou, union)
        bins = ops.cast(ops.clip(ops.ceil(values * BINS) - 1, 0, BINS - 1), "int32")
        self.confusion.assign_add(ops.segment_sum(ops.cast(counted, "int64"), bins, num_segments=BINS))
        self.total.assign_add(ops.sum(ops.where(counted, values, 0.0)))

    def result(self) -> dict[str, Any]:
        """Computes mean and percentiles of all images counted since the last reset; 0 if there are none."""
        counts = ops.cast(self.confusion, "float64")
        images, below = ops.sum(counts), ops.cumsum(counts)
        values = {"image_miou": ops.divide_no_nan(ops.convert_to_tensor(self.total), images)}
        for each in self.percentiles:
            first = ops.sum(ops.cast(below < images * each / 100, "float64"))  # bins that do not reach the percentage
            value = ops.minimum(first + 1, BINS) / BINS
            values[f"image_miou_p{each:g}"] = ops.where(images > 0, value, 0.0)
        return {name: ops.cast(value, "float32") for name, value in values.items()}

    def report(self) -> dict[str, float]:
        """Returns mean and percentiles, for JSON."""
        return {name: float(ops.convert_to_numpy(value)) for name, value in self.result().items()}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "percentiles": self.percentiles}
