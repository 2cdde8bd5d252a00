"""Softmax cross-entropy over the labeled pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tfseg.losses.annotated import checked_annotated, restricted
from tfseg.losses.pixels import check_from_logits, pixel_labels, weighted
from tfseg.losses.resolution import Positions, check, matched
from tfseg.ops.label_maps import integer_labels, resolve_ignore_label
from tfseg.ops.runtime import sum_over_replicas
from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class CrossEntropy(keras.losses.Loss):
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
            unknown, if `ignore_label` and `ignore_class` differ, if `from_logits` is not True, or if `annotated` has
            not one boolean per class in each row.

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
        ignore_class: int | None = None,
        from_logits: bool = True,
        annotated: Sequence[Sequence[bool]] | None = None,
    ) -> None:
        check_from_logits(from_logits)
        if reduction not in ("mean", "sum"):
            raise ValueError(f'`reduction` must be "mean" or "sum". Received: reduction={reduction!r}')
        check(resolution)
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.ignore_label = resolve_ignore_label(ignore_label, ignore_class)
        self.resolution = resolution
        self.positions = Positions.of(positions)
        self.annotated = checked_annotated(annotated)
        self.class_weights = None if class_weights is None else tuple(float(weight) for weight in class_weights)
        if self.class_weights is not None and min(self.class_weights, default=-1.0) < 0:
            raise ValueError(
                f"`class_weights` must be a nonempty list of numbers >= 0. Received: class_weights={class_weights}"
            )

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Computes the loss without the reduction of Keras, which ignores no pixels and does not sum over replicas."""
        with keras.name_scope(self.name):
            logits = ops.convert_to_tensor(y_pred, dtype="float32")
            labels, logits, sample_weight = matched(
                integer_labels(y_true), logits, sample_weight, self.resolution, self.positions, self.ignore_label
            )
            labels, logits = restricted(labels, logits, self.annotated)
            labels, counted = pixel_labels(labels, logits.shape, self.ignore_label)
            losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            weights = weighted(counted, labels, self._checked_weights(logits.shape[-1]), sample_weight)
            divisor = weights if self.reduction == "mean" else ops.ones(ops.shape(labels)[:1])
            return ops.divide_no_nan(ops.sum(losses * weights), sum_over_replicas(ops.sum(divisor)))

    def _checked_weights(self, num_classes: int) -> tuple[float, ...] | None:
        if self.class_weights is not None and len(self.class_weights) != num_classes:
            raise ValueError(
                f"`class_weights` must have one weight per class of the logits, that is {num_classes}. "
                f"Received: class_weights={self.class_weights}"
            )
        return self.class_weights

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "ignore_label": self.ignore_label,
            "class_weights": self.class_weights,
            "resolution": self.resolution,
            "positions": self.positions._asdict(),
            "annotated": self.annotated,
        }
