"""Softmax cross-entropy of every labeled pixel."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tfseg.losses.pixels import check_from_logits, pixel_labels, weighted
from tfseg.losses.resolution import Positions, check, matched
from tfseg.ops.label_maps import integer_labels, resolve_ignore_label
from tfseg.ops.runtime import sum_over_replicas
from tfseg.serialization import serializable


@serializable
class CrossEntropy(keras.losses.Loss):
    """Softmax cross-entropy from logits over the pixels that have a label.

    With `reduction="mean"` the loss is `sum(w * -log p[label]) / sum(w)` over the labeled pixels of the whole batch,
    where `w` is the weight of the pixel's class (1 without `class_weights`). With `reduction="sum"` the numerator is
    divided by the number of images instead, as Caffe does with `normalize: false`. Under a distribution strategy both
    divisors are those of the global batch, so that two devices compute what one would. Pixels labeled `ignore_label`
    have no loss and no gradient; a batch of nothing else has loss 0. Everything is computed in float32.

    A label that is neither a class nor `ignore_label`, or a float that is not a whole number, stops the training;
    under XLA, which leaves checks out, it makes the loss NaN.

    Example:

    >>> import numpy as np
    >>> labels = np.array([[[0, 1, 255]]])
    >>> logits = np.log([[[[0.5, 0.5], [0.75, 0.25], [0.1, 0.9]]]])
    >>> round(float(CrossEntropy()(labels, logits)), 4)  # (log 2 + log 4) / 2
    1.0397

    Args:
        ignore_label: Integer, label of pixels that do not count. Defaults to 255.
        class_weights: one weight for each class, or None where all count the same.
        reduction: `"mean"` or `"sum"`.
        resolution: what happens where logits and labels differ in size. None: an error. `"image"`: logits are resized
            to the labels, bilinearly. `"scores"`: labels are subsampled to the logits, see `tfseg.losses.subsample`.
        positions: where smaller logits lie in the image, as `tfseg.losses.Positions` or its fields; None: from one
            corner to the other.
        name: Name of the loss.
        ignore_class: Alias of `ignore_label`, the name that Keras uses. None if not given.
        from_logits: Must be True, the only mode: `y_pred` are logits. Accepted so that calls written for Keras's losses
            work.

    Call arguments:
        y_true: Labels, integers or floats that are whole numbers.
        y_pred: logits.
        sample_weight: further weights, one for each pixel or each image.

    Input shape:
        `y_true` `[batch, height, width]` or `[batch, height, width, 1]`, `y_pred` `[batch, height, width, classes]`;
        other heights and widths with a `resolution`.

    Output shape:
        A scalar. On a replica it is the replica's share: the shares add up to the loss of the global batch.

    Raises:
        ValueError: labels that are neither integers nor floats, shapes that do not fit, class weights that are not one
            for each class, `ignore_class` beside another `ignore_label`.

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
    ) -> None:
        check_from_logits(from_logits)
        if reduction not in ("mean", "sum"):
            raise ValueError(f'`reduction` must be "mean" or "sum". Received: reduction={reduction!r}')
        check(resolution)
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.ignore_label = resolve_ignore_label(ignore_label, ignore_class)
        self.resolution = resolution
        self.positions = Positions.of(positions)
        self.class_weights = None if class_weights is None else tuple(float(weight) for weight in class_weights)
        if self.class_weights is not None and min(self.class_weights, default=-1.0) < 0:
            raise ValueError(f"`class_weights` must be numbers from 0 up. Received: class_weights={class_weights}")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss. Keras's own reduction is not used, because it knows neither ignored pixels nor the global batch."""
        with keras.name_scope(self.name):
            logits = ops.convert_to_tensor(y_pred, dtype="float32")
            labels, logits, sample_weight = matched(
                integer_labels(y_true), logits, sample_weight, self.resolution, self.positions, self.ignore_label
            )
            labels, counted = pixel_labels(labels, logits.shape, self.ignore_label)
            losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            weights = weighted(counted, labels, self._table(logits.shape[-1]), sample_weight)
            divisor = weights if self.reduction == "mean" else ops.ones(ops.shape(labels)[:1])
            return ops.divide_no_nan(ops.sum(losses * weights), sum_over_replicas(ops.sum(divisor)))

    def _table(self, classes: int) -> Any:
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(
                f"`class_weights` must hold one weight for each of the {classes} classes of the logits. "
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
        }
