"""Lovász-softmax loss."""

from typing import Any

from keras import ops

from tfseg.losses.pixel_loss import PixelLoss
from tfseg.losses.pixels import Pixels
from tfseg.losses.present import map_present
from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class LovaszSoftmax(PixelLoss):
    """Computes the Lovász-softmax loss, a convex surrogate of one minus the IoU of each class.

    The error of a pixel and a class is the distance of its probability from 1 at the pixels of the class, and from 0 at
    others. The loss of a class is the Lovász extension of its Jaccard loss at these errors: the errors, sorted in
    descending order, times the increases of the Jaccard loss as the pixels are added one after the other (algorithm 1
    of the paper). The loss of an image is the mean over the classes in its label, weighted by `class_weights`, and the
    result the mean over the images that have labeled pixels.

    The errors of every image and class in its label are sorted, which takes most of the time.

    Example:

    >>> import numpy as np
    >>> labels, logits = np.array([[[0, 1]]]), np.log([[[[0.5, 0.5], [0.75, 0.25]]]])
    >>> round(float(LovaszSoftmax()(labels, logits)), 4)  # (0.75 / 2 + 0.5 / 2 + 0.75 / 1) / 2
    0.6875

    Args:
        **options: `ignore_label`, `class_weights`, `resolution`, `positions`, `name`, `ignore_class`, `from_logits` and
            `annotated`, as for `tfseg.losses.CrossEntropy`.

    Call arguments:
        y_true: Label map, as for `tfseg.losses.CrossEntropy`.
        y_pred: Logits.
        sample_weight: One weight per image.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`.

    Output shape:
        A scalar. On a replica, its share of the loss: the shares add up to the loss of the global batch.

    Raises:
        ValueError: If `sample_weight` has weights per pixel, and as for `tfseg.losses.CrossEntropy`.

    Reference:
        Berman, Rannen Triki and Blaschko, The Lovász-Softmax Loss: A Tractable Surrogate for the Optimization of the
        Intersection-Over-Union Measure in Neural Networks (2018), equations 9 to 12.
    """

    NAME = "lovasz_softmax"

    def compute(self, pixels: Pixels) -> Tensor:
        """Computes the loss of a batch, a float32 scalar."""
        pixels.check_image_weights()
        probabilities = ops.softmax(pixels.logits)
        fixed = ops.transpose(ops.stop_gradient(probabilities), (0, 3, 1, 2))
        (gradient, offset), present = map_present(_gradient, _nothing, pixels, fixed)
        # The extension is linear wherever the order of the errors does not change.
        losses = offset + ops.einsum("bchw,bhwc->bc", gradient, probabilities)
        return pixels.image_mean(pixels.class_mean(losses, present))


def _gradient(inside: Tensor, outside: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the gradient of the loss of a class with respect to its probabilities, and the loss if all of them are 0.

    If a pixel of the class is added to the errors, the Jaccard loss increases by `1 / union`, and by
    `intersection / (union (union - 1))` if another labeled pixel is added. These forms have no cancellation.

    Args:
        inside: Booleans `[height, width]`, pixels of the class.
        outside: Booleans `[height, width]`, other labeled pixels.
        probabilities: Float32 `[height, width]`.
    """
    inside, outside, errors = (ops.reshape(each, (-1,)) for each in (inside, outside, probabilities))
    errors = ops.where(inside, 1 - errors, ops.where(outside, errors, -1.0))  # ignored pixels are the last ones
    order = ops.argsort(-errors)
    hit, other = (ops.cast(ops.take(each, order), "int32") for each in (inside, outside))
    total = ops.sum(hit)
    intersection, union = (ops.cast(each, "float32") for each in (total - ops.cumsum(hit), total + ops.cumsum(other)))
    increases = ops.where(hit > 0, 1 / union, intersection / (union * ops.maximum(union - 1, 1)))
    signs = ops.cast(other - hit, "float32")
    gradient = ops.scatter(order[:, None], signs * increases, ops.shape(errors))
    return ops.reshape(gradient, ops.shape(probabilities)), ops.sum(ops.cast(hit, "float32") * increases)


def _nothing(size: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
    return ops.zeros(size), ops.zeros(())
