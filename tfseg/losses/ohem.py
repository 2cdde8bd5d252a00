"""Cross-entropy over the hard pixels of each image."""

import math
from typing import Any, Unpack

from keras import ops

from tfseg.losses.pixel_loss import Options, PixelLoss
from tfseg.losses.pixels import Pixels
from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class OhemCrossEntropy(PixelLoss):
    """Computes the softmax cross-entropy over the hard pixels of each image (online hard example mining).

    Hard are the labeled pixels whose label has a probability below `threshold`, and in any case the hardest ones up to
    the share `min_kept` of the labeled pixels of the image, rounded up; equally hard pixels are all kept. The loss of
    an image is the mean over these pixels, weighted by `class_weights`, and the result the mean over the images that
    have labeled pixels.

    Example:

    >>> import numpy as np
    >>> labels, logits = np.array([[[0, 1, 0]]]), np.log([[[[0.5, 0.5], [0.75, 0.25], [0.9, 0.1]]]])
    >>> round(float(OhemCrossEntropy(threshold=0.3)(labels, logits)), 4)  # log 4
    1.3863

    Args:
        threshold: Float, probability of the label below which a pixel is hard, from 0 to 1.
        min_kept: Float, minimum share of the labeled pixels of an image that are kept, from 0 to 1.
        **options: `ignore_label`, `class_weights`, `resolution`, `positions`, `name`, `ignore_class`, `from_logits` and
            `annotated`, as for `tfseg.losses.CrossEntropy`.

    Call arguments:
        y_true: Label map, as for `tfseg.losses.CrossEntropy`.
        y_pred: Logits.
        sample_weight: Weights of the means, one per pixel or one per image. They do not affect the selection.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`.

    Output shape:
        A scalar. On a replica, its share of the loss: the shares add up to the loss of the global batch.

    Raises:
        ValueError: If `threshold` or `min_kept` is not from 0 to 1, and as for `tfseg.losses.CrossEntropy`.

    Reference:
        Shrivastava, Gupta and Girshick, Training Region-based Object Detectors with Online Hard Example Mining (2016),
        section 4. Threshold and minimum are those of Yuan and Wang, OCNet (2018).
    """

    NAME = "ohem_cross_entropy"

    def __init__(self, threshold: float = 0.7, min_kept: float = 1 / 16, **options: Unpack[Options]) -> None:
        for name, value in (("threshold", threshold), ("min_kept", min_kept)):
            if not 0 <= value <= 1:
                raise ValueError(f"`{name}` must be from 0 to 1. Received: {name}={value}")
        super().__init__(**options)
        self.threshold, self.min_kept = threshold, min_kept

    def compute(self, pixels: Pixels) -> Tensor:
        """Computes the loss of a batch, a float32 scalar."""
        losses = pixels.cross_entropy
        weights = pixels.weights * ops.cast(self._hard(ops.stop_gradient(losses), pixels.counted), "float32")
        sums = ops.sum(losses * weights, axis=(1, 2))
        return pixels.image_mean(ops.divide_no_nan(sums, ops.sum(weights, axis=(1, 2))))

    def _hard(self, losses: Tensor, counted: Tensor) -> Tensor:
        """Returns a mask of the hard pixels, `[batch, height, width]`."""
        hardness = ops.where(counted > 0, losses, -1.0)  # less than that of any labeled pixel
        kept = ops.ceil(self.min_kept * ops.sum(counted, axis=(1, 2)))
        limit = -math.log(self.threshold) if self.threshold else math.inf
        return ops.logical_or(hardness > limit, hardness >= self._hardest(hardness, kept)[:, None, None])

    def _hardest(self, hardness: Tensor, kept: Tensor) -> Tensor:
        """Returns the largest value of each image that `kept` pixels reach; infinity if it is 0."""
        images, height, width = ops.shape(hardness)
        area = height * width
        most = ops.maximum(ops.cast(ops.ceil(self.min_kept * ops.cast(area, "float32")), "int32"), 1)
        if isinstance(area, int):
            most = max(math.ceil(self.min_kept * area), 1)
        descending, _ = ops.top_k(ops.reshape(hardness, (images, area)), most)
        last = ops.clip(ops.cast(kept, "int32"), 1, most) - 1
        return ops.where(kept > 0, ops.take_along_axis(descending, last[:, None], axis=1)[:, 0], math.inf)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold, "min_kept": self.min_kept}
