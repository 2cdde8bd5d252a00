"""Binary cross-entropy of a score map of boundaries, as real-time networks predict it."""

from typing import Any, Unpack

from keras import ops

from tfseg.losses.annotated import without_sources
from tfseg.losses.pixel_loss import Options, PixelLoss
from tfseg.losses.pixels import Pixels, pixel_labels, whole
from tfseg.ops.boundary import between_classes
from tfseg.ops.label_maps import int32_ids
from tfseg.serialization import serializable
from tfseg.typing import Tensor

_CLASSES = 1 << 16
"""Number of classes of a label map if it is not given."""


@serializable
class BoundaryCrossEntropy(PixelLoss):
    """Computes the balanced binary cross-entropy between the boundaries of a label map and logits of boundaries.

    A labeled pixel is at a boundary if the square of side `2 radius + 1` around it has labeled pixels of several
    classes. The loss of an image is the mean of two values, the mean over the pixels at boundaries and that over the
    other labeled pixels, so that the few boundary pixels count as much as all others; it is one of the two if the image
    has no pixel for the other. The result is the mean over the images that have labeled pixels.

    Example:

    >>> import numpy as np
    >>> labels, logits = np.array([[[0, 0, 0, 1]]]), np.log([[[[1.0], [1.0], [3.0], [1.0]]]])
    >>> round(float(BoundaryCrossEntropy(radius=1)(labels, logits)), 4)  # ((log 4/3 + log 2) / 2 + log 2) / 2
    0.5918

    Args:
        radius: Integer, largest chessboard distance to another class, at least 1: boundaries have a width of
            `2 radius` pixels.
        num_classes: Integer, number of classes of the label map, to which its values are checked; None: any number.
        **options: `ignore_label`, `resolution`, `positions`, `name`, `ignore_class`, `from_logits` and `annotated`, as
            for `tfseg.losses.CrossEntropy`. The boundary is that of the label map after a change of resolution.

    Call arguments:
        y_true: Label map, as for `tfseg.losses.CrossEntropy`.
        y_pred: Logits of boundaries.
        sample_weight: Weights of the means, one per pixel or one per image.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, 1]`.

    Output shape:
        A scalar. On a replica, its share of the loss: the shares add up to the loss of the global batch.

    Raises:
        ValueError: If `radius` or `num_classes` is less than 1, if `y_pred` has more than one channel, if
            `class_weights` are given, and as for `tfseg.losses.CrossEntropy`.

    Reference:
        Fan et al., Rethinking BiSeNet For Real-time Semantic Segmentation (2021), section 3.3; Xu, Xiong and
        Bhattacharyya, PIDNet (2023), section 3.4; balanced as in Xie and Tu, Holistically-Nested Edge Detection (2015),
        equation 2, up to a factor per image.
    """

    NAME = "boundary_cross_entropy"

    def __init__(self, radius: int = 2, num_classes: int | None = None, **options: Unpack[Options]) -> None:
        if options.get("class_weights") is not None:
            raise ValueError(
                "`class_weights` has no effect on the boundaries of all classes; leave it out. Received: "
                f"class_weights={options['class_weights']}"
            )
        super().__init__(**options)
        self.radius = whole("radius", radius)
        self.num_classes = None if num_classes is None else whole("num_classes", num_classes)

    def pixels_of(self, labels: Tensor, logits: Tensor, sample_weight: Tensor | None) -> Pixels:
        """Checks label maps and logits of equal height and width, and returns the pixels of the batch."""
        if len(logits.shape) != 4 or logits.shape[-1] != 1:
            raise ValueError(
                "Logits of boundaries must be [batch, height, width, 1]. Received: y_pred of shape "
                f"{tuple(logits.shape)}"
            )
        if self.annotated is not None:
            labels = without_sources(int32_ids(labels), len(self.annotated))
        shape = (*logits.shape[:-1], self.num_classes or _CLASSES)
        labels, counted = pixel_labels(labels, shape, self.ignore_label)
        return Pixels(labels, logits, counted, sample_weight)

    def compute(self, pixels: Pixels) -> Tensor:
        """Computes the loss of a batch, a float32 scalar."""
        boundary = ops.cast(between_classes(pixels.labels, pixels.counted > 0, self.radius), "float32")
        losses = ops.binary_crossentropy(boundary, pixels.logits[..., 0], from_logits=True)
        weights = [pixels.sampled * boundary, pixels.sampled * (1 - boundary)]
        totals = ops.stack([ops.sum(each, axis=(1, 2)) for each in weights], axis=-1)
        means = ops.divide_no_nan(ops.stack([ops.sum(losses * each, axis=(1, 2)) for each in weights], axis=-1), totals)
        kinds = ops.sum(ops.cast(totals > 0, "float32"), axis=-1)
        return pixels.image_mean(ops.divide_no_nan(ops.sum(means, axis=-1), kinds))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["class_weights"]
        return {**config, "radius": self.radius, "num_classes": self.num_classes}
