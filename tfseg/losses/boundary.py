"""Boundary losses: of the distances to the boundary of each class, and of a score map of boundaries."""

from typing import Any, Unpack

from keras import ops

from tfseg.losses.pixel_loss import Options, PixelLoss
from tfseg.losses.pixels import Pixels
from tfseg.losses.present import map_present
from tfseg.ops.distance import distance_transform
from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class Boundary(PixelLoss):
    """Computes the boundary loss: probabilities of wrong classes, weighted by the distance to the right ones.

    Let `phi` be the signed distance of a pixel to the boundary of a class: outside of the class, the Euclidean distance
    to the nearest pixel of the class; inside, one minus the distance to the nearest labeled pixel of another class. The
    loss of a class is the mean of `phi (p - g)` over the labeled pixels, where `p` is the probability of the class and
    `g` is 1 at its pixels: equation 5 of the paper, plus the constant that makes the loss of a perfect prediction 0.
    Distances are limited to `max_distance`, and divided by it. The loss of an image is the mean over the classes in its
    label, weighted by `class_weights`, and the result the mean over the images that have labeled pixels.

    A class that is predicted in an image without it has no boundary and no loss here. Use this loss in a sum with one
    of regions, such as `tfseg.losses.Dice` or `tfseg.losses.CrossEntropy`.

    Example:

    >>> import numpy as np
    >>> labels, logits = np.array([[[0, 0, 1]]]), np.log([[[[0.5, 0.5], [0.75, 0.25], [0.25, 0.75]]]])
    >>> round(float(Boundary(max_distance=2)(labels, logits)), 4)  # ((1/4 + 1/8) / 3 + (1/2 + 1/8) / 3) / 2
    0.1667

    Args:
        max_distance: Integer, limit of the distances in pixels, at least 1.
        **options: `ignore_label`, `class_weights`, `resolution`, `positions`, `name`, `ignore_class`, `from_logits` and
            `annotated`, as for `tfseg.losses.CrossEntropy`.

    Call arguments:
        y_true: Label map, as for `tfseg.losses.CrossEntropy`.
        y_pred: Logits.
        sample_weight: Weights of the pixels in the means, one per pixel, or weights of the images.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`.

    Output shape:
        A scalar. On a replica, its share of the loss: the shares add up to the loss of the global batch.

    Raises:
        ValueError: If `max_distance` is less than 1, and as for `tfseg.losses.CrossEntropy`.

    Reference:
        Kervadec, Bouchtiba, Desrosiers, Granger, Dolz and Ben Ayed, Boundary loss for highly unbalanced segmentation
        (2019), equation 5.
    """

    NAME = "boundary"

    def __init__(self, max_distance: int = 20, **options: Unpack[Options]) -> None:
        if max_distance < 1:
            raise ValueError(f"`max_distance` must be at least 1. Received: max_distance={max_distance}")
        super().__init__(**options)
        self.max_distance = max_distance

    def compute(self, pixels: Pixels) -> Tensor:
        """Computes the loss of a batch, a float32 scalar."""
        labels = ops.one_hot(pixels.labels, pixels.classes, axis=1, dtype="float32")
        distances, present = self._distances(pixels, labels)
        wrong = ops.transpose(ops.softmax(pixels.logits), (0, 3, 1, 2)) - labels
        sums = ops.einsum("bchw,bhw->bc", distances * wrong, pixels.sampled)
        means = ops.divide_no_nan(sums, ops.sum(pixels.sampled, axis=(1, 2))[:, None])
        return pixels.image_mean(pixels.class_mean(means, present))

    def _distances(self, pixels: Pixels, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the signed distances, 0 for absent classes, and booleans `[batch, classes]` of those present."""
        limit = self.max_distance

        def outside(inside: Tensor, others: Tensor) -> Tensor:
            return distance_transform(inside, limit)

        distances, present = map_present(outside, lambda size: ops.full(size, float(limit)), pixels)
        # Inside a class, the nearest pixel of another class is the nearest one of all others.
        nearest = ops.min(distances + limit * labels, axis=1, keepdims=True)
        signed = ops.where(labels > 0, 1 - ops.minimum(nearest, float(limit)), distances) / limit
        return ops.where(present[:, :, None, None], signed, 0.0), present

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_distance": self.max_distance}
