"""Softmax cross-entropy over the labeled pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

from tfseg.losses.pixel_loss import PixelLoss
from tfseg.losses.pixels import Pixels
from tfseg.losses.resolution import Positions
from tfseg.ops.runtime import sum_over_replicas
from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class CrossEntropy(PixelLoss):
    """Computes the softmax cross-entropy between a label map and logits.

    With `reduction="mean"` the loss is `sum(w * -log p[label]) / sum(w)` over the labeled pixels of the batch, where
    `w` is the weight of the pixel's class (1 without `class_weights`). With `reduction="sum"` the numerator is divided
    by the number of images instead, as in Caffe with `normalize: false`. Under a distribution strategy both divisors
    are those of the global batch, so the number of devices does not change the result. Pixels labeled `ignore_label`
    contribute neither to the loss nor to the gradient. A batch without labeled pixels has loss 0. The loss is computed
    in float32.

    A label that is neither a class id nor `ignore_label`, or that is not a whole number, raises an error at run time.
    With XLA or JAX, the loss is NaN instead.

    Example:

    >>> import numpy as np
    >>> labels = np.array([[[0, 1, 255]]])
    >>> logits = np.log([[[[0.5, 0.5], [0.75, 0.25], [0.1, 0.9]]]])
    >>> round(float(CrossEntropy()(labels, logits)), 4)  # (log 2 + log 4) / 2
    1.0397

    Args:
        ignore_label: Integer, label of the pixels to ignore. Defaults to 255.
        class_weights: One weight per class, or None to weight all classes equally.
        reduction: Either `"mean"` or `"sum"`.
        resolution: Resolution at which the loss is computed if logits and labels differ in size. `"image"`: logits are
            resized to the labels bilinearly. `"scores"`: labels are subsampled to the logits, see
            `tfseg.losses.subsample`. None: different sizes raise an error.
        positions: Positions of the logits in the image if logits and labels differ in size, as
            `tfseg.losses.Positions` or a dict of its fields. None: corner-aligned.
        name: Name of the loss.
        label_smoothing: Float from 0 to 1, share of the label that is spread over all classes, as in
            `keras.losses.CategoricalCrossentropy` (Szegedy et al. 2016, section 7). With `annotated`, over the
            annotated classes.
        ignore_class: Alias of `ignore_label`, the name used by Keras.
        from_logits: Must be True. Accepted for compatibility with the losses of Keras.
        annotated: Boolean per source and class, for labels that contain the source of each pixel, as
            `tfseg.ops.label_maps.with_source` makes them: the classes that the source of a pixel does not annotate are
            left out of its softmax. None: labels are class ids.

    Call arguments:
        y_true: Label map, of integers or of floats that are whole numbers.
        y_pred: Logits.
        sample_weight: Weights by which `w` is multiplied, one per pixel or one per image.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`;
        with a `resolution`, height and width may differ from those of `y_true`.

    Output shape:
        A scalar. On a replica, its share of the loss: the shares add up to the loss of the global batch.

    Raises:
        ValueError: If `y_true` is neither of integers nor of floats, if shapes do not match, if a class weight is
            negative, if the number of class weights is not the number of classes, if `reduction` or `resolution` is
            unknown, if `label_smoothing` is not from 0 to 1, if `ignore_label` and `ignore_class` differ, if
            `from_logits` is not True, or if `annotated` has not one boolean per class in each row.

    Reference:
        Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation (2015), section 4.
    """

    def __init__(
        self,
        ignore_label: int | None = None,
        class_weights: Sequence[float] | None = None,
        reduction: str = "mean",
        resolution: str | None = None,
        positions: Mapping[str, Any] | Positions | None = None,
        name: str = "cross_entropy",
        *,
        label_smoothing: float = 0.0,
        ignore_class: int | None = None,
        from_logits: bool = True,
        annotated: Sequence[Sequence[bool]] | None = None,
    ) -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(f'`reduction` must be "mean" or "sum". Received: reduction={reduction!r}')
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"`label_smoothing` must be from 0 to 1. Received: label_smoothing={label_smoothing}")
        super().__init__(
            name=name,
            ignore_label=ignore_label,
            class_weights=class_weights,
            resolution=resolution,
            positions=positions,
            ignore_class=ignore_class,
            from_logits=from_logits,
            annotated=annotated,
        )
        self.reduction, self.label_smoothing = reduction, label_smoothing

    def compute(self, pixels: Pixels) -> Tensor:
        """Computes the loss of a batch, a float32 scalar."""
        losses = self._smoothed(pixels) if self.label_smoothing else pixels.cross_entropy
        if self.reduction == "mean":
            return pixels.mean(losses)
        images = ops.sum(ops.ones(ops.shape(losses)[:1]))
        return ops.divide_no_nan(ops.sum(losses * pixels.weights), sum_over_replicas(images))

    def _smoothed(self, pixels: Pixels) -> Tensor:
        """Computes the cross-entropy with probabilities that are spread over the classes of the softmax."""
        included = ops.ones_like(pixels.logits) if pixels.included is None else ops.cast(pixels.included, "float32")
        uniform = included / ops.sum(included, axis=-1, keepdims=True)
        labels = ops.one_hot(pixels.labels, pixels.classes, dtype="float32")
        targets = (1 - self.label_smoothing) * labels + self.label_smoothing * uniform
        return ops.categorical_crossentropy(targets, pixels.logits, from_logits=True)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reduction": self.reduction, "label_smoothing": self.label_smoothing}
