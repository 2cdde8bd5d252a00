"""Focal loss over the labeled pixels."""

from typing import Any, Unpack

from keras import ops

from tfseg.losses.pixel_loss import Options, PixelLoss
from tfseg.losses.pixels import Pixels
from tfseg.serialization import serializable
from tfseg.typing import Tensor

_SMALLEST = 1e-7
"""Smallest `1 - p`, so that its power has a finite gradient where `p` is 1."""


@serializable
class Focal(PixelLoss):
    """Computes the focal loss, a cross-entropy with less weight for pixels that are already well classified.

    The loss of a pixel whose label has the probability `p` is `-(1 - p)^gamma log(p)`, equations 4 and 5 of the paper.
    The result is its mean over the labeled pixels of the batch, weighted by `class_weights`: the `alpha` of the paper.
    With `gamma=0`, it is the cross-entropy.

    Example:

    >>> import numpy as np
    >>> labels, logits = np.array([[[0, 1]]]), np.log([[[[0.5, 0.5], [0.75, 0.25]]]])
    >>> round(float(Focal(gamma=2)(labels, logits)), 4)  # (0.5^2 log 2 + 0.75^2 log 4) / 2
    0.4765

    Args:
        gamma: Float, focusing parameter, at least 0.
        **options: `ignore_label`, `class_weights`, `resolution`, `positions`, `name`, `ignore_class`, `from_logits` and
            `annotated`, as for `tfseg.losses.CrossEntropy`.

    Call arguments:
        y_true: Label map, as for `tfseg.losses.CrossEntropy`.
        y_pred: Logits.
        sample_weight: Weights of the mean, one per pixel or one per image.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`.

    Output shape:
        A scalar. On a replica, its share of the loss: the shares add up to the loss of the global batch.

    Raises:
        ValueError: If `gamma` is negative, and as for `tfseg.losses.CrossEntropy`.

    Reference:
        Lin, Goyal, Girshick, He and Dollár, Focal Loss for Dense Object Detection (2017), section 3.
    """

    NAME = "focal"

    def __init__(self, gamma: float = 2.0, **options: Unpack[Options]) -> None:
        if not gamma >= 0:
            raise ValueError(f"`gamma` must be at least 0. Received: gamma={gamma}")
        super().__init__(**options)
        self.gamma = gamma

    def compute(self, pixels: Pixels) -> Tensor:
        """Computes the loss of a batch, a float32 scalar."""
        losses = pixels.cross_entropy
        wrong = ops.maximum(-ops.expm1(-losses), _SMALLEST)  # 1 - p
        return pixels.mean(ops.power(wrong, self.gamma) * losses)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma}
