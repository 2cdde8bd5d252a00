"""Boundary losses: of the distances to the boundary of each class, and of a score map of boundaries."""

from typing import Any, Unpack

from keras import ops

from tfseg.losses.pixel_loss import Options, PixelLoss
from tfseg.losses.pixels import Pixels, whole
from tfseg.losses.present import map_present
from tfseg.ops.distance import distance_transform
from tfseg.serialization import serializable
from tfseg.typing import Tensor

FARTHEST = 255
"""Largest `max_distance`: the graph has two operations for each pixel of distance."""


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
        max_distance: Integer, limit of the distances in pixels, from 1 to 255. The time grows with it.
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
        ValueError: If `max_distance` is not from 1 to 255, and as for `tfseg.losses.CrossEntropy`.

    Reference:
        Kervadec, Bouchtiba, Desrosiers, Granger, Dolz and Ben Ayed, Boundary loss for highly unbalanced segmentation
        (2019), equation 5.
    """

    NAME = "boundary"

    def __init__(self, max_distance: int = 10, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        self.max_distance = whole("max_distance", max_distance, FARTHEST)

    def compute(self, pixels: Pixels) -> Tensor:
        """Computes the loss of a batch, a float32 scalar."""
        distances, present = self._distances(pixels)
        weighted = distances * pixels.sampled[..., None]
        sums = ops.sum(weighted * ops.softmax(pixels.logits), axis=(1, 2)) - self._smallest(pixels, weighted)
        means = ops.divide_no_nan(sums, ops.sum(pixels.sampled, axis=(1, 2))[:, None])
        return pixels.image_mean(pixels.class_mean(means, present))

    def _distances(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        """Returns the signed distances, `[batch, height, width, classes]`, 0 for absent classes, and booleans `[batch,
        classes]` of those present."""
        limit = float(self.max_distance)

        def outside(inside: Tensor, others: Tensor) -> Tensor:
            return distance_transform(inside, self.max_distance)

        distances, present = map_present(outside, ops.zeros, pixels)  # 0 inside the class
        # Inside a class, the nearest pixel of another class is the nearest one of all others.
        nearest = ops.min(ops.where(distances > 0, distances, limit), axis=1, initial=limit)[..., None]
        own = ops.equal(ops.cast(pixels.labels, "int32")[..., None], ops.arange(pixels.classes, dtype="int32"))
        return ops.where(own, 1 - nearest, ops.transpose(distances, (0, 2, 3, 1))) / limit, present

    def _smallest(self, pixels: Pixels, weighted: Tensor) -> Tensor:
        """Computes the sums of a perfect prediction, `[batch, classes]`: those of the distances in the class."""
        return ops.sum(ops.minimum(weighted, 0.0), axis=(1, 2))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_distance": self.max_distance}
