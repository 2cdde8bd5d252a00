"""Dice and Tversky losses of soft counts."""

from typing import Any, Literal, Unpack, get_args

from keras import ops

from tfseg.losses.pixel_loss import Options, PixelLoss
from tfseg.losses.pixels import Pixels
from tfseg.ops.runtime import num_replicas, sum_over_replicas
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Over = Literal["image", "batch"]
"""Pixels that are counted together: those of an image, or those of the global batch."""


@serializable
class Tversky(PixelLoss):
    """Computes one minus the Tversky index of each class, of probabilities instead of predicted pixels.

    With the sums over pixels `TP = sum(p g)`, `FP = sum(p (1 - g))` and `FN = sum((1 - p) g)`, where `p` is the
    probability of the class and `g` is 1 at its pixels, the index is `TP / (TP + alpha FP + beta FN)`. The loss of an
    image is the mean over the classes in its label, weighted by `class_weights`, and the result the mean over the
    images that have labeled pixels. With `over="batch"`, the sums are over all pixels of the global batch, and the mean
    is over the classes in its labels: small objects of a class then count as much as the whole batch has of it.

    Example:

    >>> import numpy as np
    >>> labels, logits = np.array([[[0, 0, 0, 1]]]), np.log([[[[0.8, 0.2]] * 4]])
    >>> round(float(Tversky(alpha=0.5, beta=0.5)(labels, logits)), 4)  # 1 - (2.4 / 3.1 + 0.2 / 0.9) / 2
    0.5018

    Args:
        alpha: Float, weight of false positives, at least 0.
        beta: Float, weight of false negatives, above 0. Larger than `alpha`: small objects are missed less often.
        over: `"image"` or `"batch"`.
        **options: `ignore_label`, `class_weights`, `resolution`, `positions`, `name`, `ignore_class`, `from_logits` and
            `annotated`, as for `tfseg.losses.CrossEntropy`.

    Call arguments:
        y_true: Label map, as for `tfseg.losses.CrossEntropy`.
        y_pred: Logits.
        sample_weight: Weights of the pixels in the sums, one per pixel, or weights of the images.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`.

    Output shape:
        A scalar. On a replica, its share of the loss: the shares add up to the loss of the global batch.

    Raises:
        ValueError: If `alpha` is negative or `beta` not positive, if `over` is unknown, and as for
            `tfseg.losses.CrossEntropy`.

    Reference:
        Salehi, Erdogmus and Gholipour, Tversky Loss Function for Image Segmentation Using 3D Fully Convolutional Deep
        Networks (2017), equation 4.
    """

    NAME = "tversky"

    def __init__(self, alpha: float = 0.3, beta: float = 0.7, over: Over = "image", **options: Unpack[Options]) -> None:
        if not (alpha >= 0 and beta > 0):
            raise ValueError(
                f"`alpha` must be at least 0, and `beta` more than 0. Received: alpha={alpha}, beta={beta}"
            )
        if over not in get_args(Over):
            raise ValueError(f'`over` must be "image" or "batch". Received: over={over!r}')
        super().__init__(**options)
        self.alpha, self.beta, self.over = alpha, beta, over

    def compute(self, pixels: Pixels) -> Tensor:
        """Computes the loss of a batch, a float32 scalar."""
        hits, predicted, labeled = self._sums(pixels)
        if self.over == "image":
            return pixels.image_mean(self._losses(pixels, hits, predicted, labeled))
        totals = (sum_over_replicas(ops.sum(each, axis=0)) for each in (hits, predicted, labeled))
        return self._losses(pixels, *totals) / num_replicas()

    def _sums(self, pixels: Pixels) -> tuple[Tensor, Tensor, Tensor]:
        """Computes `TP`, `TP + FP` and `TP + FN` of each image, `[batch, classes]`."""
        images = ops.shape(pixels.labels)[0]
        probabilities = ops.reshape(ops.softmax(pixels.logits), (images, -1, pixels.classes))
        weights = ops.reshape(pixels.sampled, (images, 1, -1))
        labels = ops.reshape(ops.one_hot(pixels.labels, pixels.classes, dtype="float32"), (images, -1, pixels.classes))
        predicted, labeled = (ops.matmul(weights, each)[:, 0] for each in (probabilities, labels))
        return ops.matmul(weights, probabilities * labels)[:, 0], predicted, labeled

    def _losses(self, pixels: Pixels, hits: Tensor, predicted: Tensor, labeled: Tensor) -> Tensor:
        """Computes the mean over the classes that have labeled pixels, from the sums `[..., classes]`."""
        others = self.alpha * (predicted - hits) + self.beta * (labeled - hits)
        return pixels.class_mean(1 - ops.divide_no_nan(hits, hits + others), labeled > 0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta, "over": self.over}


@serializable
class Dice(Tversky):
    """Computes one minus the Dice coefficient of each class, of probabilities instead of predicted pixels.

    The coefficient of a class is `2 sum(p g) / (sum(p) + sum(g))`, where `p` is its probability and `g` is 1 at its
    pixels: the Tversky index with `alpha` and `beta` 0.5. Means and weights are those of `tfseg.losses.Tversky`.

    Example:

    >>> import numpy as np
    >>> labels, logits = np.array([[[0, 0, 0, 1]]]), np.log([[[[0.8, 0.2]] * 4]])
    >>> round(float(Dice()(labels, logits)), 4)  # 1 - (4.8 / 6.2 + 0.4 / 1.8) / 2
    0.5018

    Args:
        over: `"image"` or `"batch"`.
        **options: As for `tfseg.losses.Tversky`.

    Call arguments:
        y_true: Label map, as for `tfseg.losses.CrossEntropy`.
        y_pred: Logits.
        sample_weight: Weights of the pixels in the sums, one per pixel, or weights of the images.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`.

    Output shape:
        A scalar. On a replica, its share of the loss: the shares add up to the loss of the global batch.

    Raises:
        ValueError: If `over` is unknown, and as for `tfseg.losses.CrossEntropy`.

    Reference:
        Milletari, Navab and Ahmadi, V-Net (2016), section 3, without the squares in the denominator; Sudre et al.,
        Generalised Dice overlap as a deep learning loss function (2017), section 2.
    """

    NAME = "dice"

    def __init__(self, over: Over = "image", **options: Unpack[Options]) -> None:
        super().__init__(0.5, 0.5, over, **options)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["alpha"], config["beta"]
        return config
