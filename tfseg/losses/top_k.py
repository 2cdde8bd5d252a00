"""Softmax cross-entropy of the pixels that are hardest."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from tfseg.losses.pixels import check_from_logits, pixel_labels, weighted
from tfseg.losses.resolution import Positions, check, matched
from tfseg.ops.label_maps import integer_labels, resolve_ignore_label
from tfseg.ops.runtime import sum_over_replicas
from tfseg.serialization import serializable


@serializable
class TopKCrossEntropy(keras.losses.Loss):
    """Mean softmax cross-entropy from logits over the `pixels` hardest labeled pixels of each image.

    A pixel is the harder the less probability its label has; the hardest are chosen anew at each step (online
    bootstrapping). The divisor is the number of chosen pixels of the whole batch, under a distribution strategy of the
    global one. An image with fewer labeled pixels gives all of them; a batch without any has loss 0. Everything is
    computed in float32.

    A label that is neither a class nor `ignore_label`, or a float that is not a whole number, stops the training;
    under XLA, which leaves checks out, it makes the loss NaN.

    Example:

    >>> import numpy as np
    >>> labels = np.array([[[0, 1, 0, 255]]])
    >>> logits = np.log([[[[0.5, 0.5], [0.75, 0.25], [0.9, 0.1], [0.1, 0.9]]]])
    >>> round(float(TopKCrossEntropy(2)(labels, logits)), 4)  # (log 2 + log 4) / 2
    1.0397

    Args:
        pixels: how many pixels of each image count.
        ignore_label: Integer, label of pixels that never count. Defaults to 255.
        resolution: what happens where logits and labels differ in size, as for `CrossEntropy`. The paper chooses among
            the places of the scores, 512 of about 65x65.
        positions: where smaller logits lie in the image, as for `CrossEntropy`.
        name: Name of the loss.
        ignore_class: Alias of `ignore_label`, the name that Keras uses. None if not given.
        from_logits: Must be True, the only mode: `y_pred` are logits. Accepted so that calls written for Keras's losses
            work.

    Call arguments:
        y_true: Labels, integers or floats that are whole numbers.
        y_pred: logits.
        sample_weight: weights, one for each pixel or each image, of the loss of chosen pixels; they choose none.

    Input shape:
        `y_true` `[batch, height, width]` or `[batch, height, width, 1]`, `y_pred` `[batch, height, width, classes]`;
        other heights and widths with a `resolution`.

    Output shape:
        A scalar. On a replica it is the replica's share: the shares add up to the loss of the global batch.

    Raises:
        ValueError: no pixels, labels that are neither integers nor floats, shapes that do not fit, `ignore_class`
            beside another `ignore_label`.

    Reference:
        Wu, Shen and van den Hengel, High-performance Semantic Segmentation Using Very Deep Fully Convolutional
        Networks (2016), section 3.2.
    """

    def __init__(
        self,
        pixels: int = 512,
        ignore_label: int | None = None,
        resolution: str | None = None,
        positions: Mapping[str, Any] | Positions | None = None,
        name: str = "top_k_cross_entropy",
        *,
        ignore_class: int | None = None,
        from_logits: bool = True,
    ) -> None:
        check_from_logits(from_logits)
        if pixels < 1:
            raise ValueError(f"`pixels` must be at least 1. Received: pixels={pixels}")
        check(resolution)
        super().__init__(name=name, reduction="mean", dtype="float32")
        self.pixels = pixels
        self.ignore_label = resolve_ignore_label(ignore_label, ignore_class)
        self.resolution = resolution
        self.positions = Positions.of(positions)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss. Keras's own reduction is not used, because it knows neither ignored pixels nor the global batch."""
        with keras.name_scope(self.name):
            logits = ops.convert_to_tensor(y_pred, dtype="float32")
            labels, logits, sample_weight = matched(
                integer_labels(y_true), logits, sample_weight, self.resolution, self.positions, self.ignore_label
            )
            labels, counted = pixel_labels(labels, logits.shape, self.ignore_label)
            losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            weights = weighted(counted, labels, None, sample_weight)
            losses, weights = self._hardest(losses, counted, losses, weights)
            return ops.divide_no_nan(ops.sum(losses * weights), sum_over_replicas(ops.sum(weights)))

    def _hardest(self, losses: Any, counted: Any, *maps: Any) -> list[Any]:
        """`maps` at the hardest pixels of each image, as `[batch, pixels]`."""
        images, height, width = ops.shape(losses)
        places = height * width
        count = min(self.pixels, places) if isinstance(places, int) else ops.minimum(places, self.pixels)
        hardness = ops.stop_gradient(ops.where(counted == 0, -1.0, losses))
        _, found = ops.top_k(ops.reshape(hardness, (images, places)), count, sorted=False)
        return [ops.take_along_axis(ops.reshape(each, (images, places)), found, axis=1) for each in maps]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["reduction"]
        own = {"pixels": self.pixels, "ignore_label": self.ignore_label, "resolution": self.resolution}
        return {**config, **own, "positions": self.positions._asdict()}
