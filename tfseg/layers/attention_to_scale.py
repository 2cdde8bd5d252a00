"""Scores of several scales as one: at each place, attention says how much each scale counts."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseg.layers.composite import Composite
from tfseg.serialization import serializable

Shape = Sequence[int | None]


@serializable
class AttentionToScale(Composite):
    """Weighs the scores of several scales at each place, by what the features of all of them look like there.

    With the scores `f_s` and the features of each scale `s`, all of one size, the result at a place `i` is
    `sum_s w_s(i) f_s(i)`. The weights are a softmax over the scales of `h_s(i)`, which a 3x3 convolution with ReLU and
    a 1x1 convolution make of the features, laid beside each other. The softmax and the sum are computed in float32 (or
    float64) under every precision policy.

    Example:

    >>> import numpy as np
    >>> scores, features = [np.zeros((1, 9, 12, 21))] * 3, [np.zeros((1, 9, 12, 4))] * 3
    >>> tuple(AttentionToScale(scales=3, filters=8)([*scores, *features]).shape)
    (1, 9, 12, 21)

    Args:
        scales: how many scales there are.
        filters: channels of the 3x3 convolution.

    Call arguments:
        inputs: the scores of each scale, and then the features of each scale in the same order, as one list.

    Input shape:
        `[[batch, height, width, classes], …, [batch, height, width, channels], …]`, as many of either kind as there are
        scales.

    Output shape:
        `[batch, height, width, classes]`.

    Raises:
        ValueError: fewer than two scales, or another number of inputs than twice the scales.

    Reference:
        Chen, Yang, Wang, Xu, Yuille, "Attention to Scale: Scale-aware Semantic Image Segmentation", CVPR 2016,
        section 3.2, equations 1 and 2.
    """

    receptive_field = 3
    """How many places of its inputs one of its places sees, in one direction."""

    def __init__(self, scales: int, filters: int = 512, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(scales, int) or scales < 2:
            raise ValueError(f"`scales` must be a number of at least 2. Received: scales={scales!r}")
        self.scales, self.filters = scales, filters
        plain = {"dtype": self.dtype_policy, "trainable": self.trainable}
        self.hidden = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="hidden", **plain)
        self.weigh = keras.layers.Conv2D(scales, 1, name="weigh", **plain)

    def build(self, input_shape: Sequence[Shape]) -> None:
        features = self._checked(input_shape)[self.scales :]
        self.hidden.build((None, None, None, sum(shape[-1] or 0 for shape in features)))
        self.weigh.build((None, None, None, self.filters))

    def call(self, inputs: Sequence[Any]) -> Any:
        scores, features = inputs[: self.scales], inputs[self.scales :]
        exact = "float64" if self.compute_dtype == "float64" else "float32"
        weights = self.weigh(self.hidden(ops.concatenate(features, axis=-1)))
        weights = ops.softmax(ops.cast(weights, exact), axis=-1)
        weighted = [ops.cast(each, exact) * weights[..., s : s + 1] for s, each in enumerate(scores)]
        return ops.cast(sum(weighted[1:], start=weighted[0]), self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        return tuple(self._checked(input_shape)[0])

    def _checked(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        if len(shapes) != 2 * self.scales or not all(isinstance(shape, Sequence) for shape in shapes):
            raise ValueError(
                f"Expected the scores of {self.scales} scales and then their features, {2 * self.scales} tensors. "
                f"Received shapes: {shapes}"
            )
        return shapes

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scales": self.scales, "filters": self.filters}
