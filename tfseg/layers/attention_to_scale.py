"""Fusion of the scores of several scales by attention."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseg.layers.composite import Composite
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Shape = Sequence[int | None]


@serializable
class AttentionToScale(Composite):
    """Fuses the scores of several scales with attention weights predicted from the features of all scales.

    For scores `f_s` and features of each scale `s`, all of equal size, the output at position `i` is
    `sum_s w_s(i) f_s(i)`. The weights `w_s` are the softmax over scales of `h_s`, which a 3x3 convolution with ReLU and
    a 1x1 convolution compute from the concatenated features. The softmax and the sum are computed in float32 (or
    float64) under every precision policy.

    Example:

    >>> import numpy as np
    >>> scores, features = [np.zeros((1, 9, 12, 21))] * 3, [np.zeros((1, 9, 12, 4))] * 3
    >>> tuple(AttentionToScale(scales=3, filters=8)([*scores, *features]).shape)
    (1, 9, 12, 21)

    Args:
        scales: Integer, number of scales, at least 2.
        filters: Integer, number of filters of the 3x3 convolution.

    Call arguments:
        inputs: List of the scores of all scales, followed by their features in the same order.

    Input shape:
        `[[batch, height, width, classes], …, [batch, height, width, channels], …]`, with one score map and one feature
        map per scale.

    Output shape:
        `[batch, height, width, classes]`.

    Raises:
        ValueError: If `scales` is less than 2, or if the number of inputs is not `2 * scales`.

    Reference:
        Chen, Yang, Wang, Xu, Yuille, "Attention to Scale: Scale-aware Semantic Image Segmentation", CVPR 2016, section
        3.2, equations 1 and 2.
    """

    receptive_field = 3
    """Receptive field in input positions along one axis."""

    def __init__(self, scales: int, filters: int = 512, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(scales, int) or scales < 2:
            raise ValueError(f"`scales` must be an integer of at least 2. Received: scales={scales!r}")
        self.scales, self.filters = scales, filters
        options = {"dtype": self.dtype_policy, "trainable": self.trainable}
        self.hidden = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="hidden", **options)
        self.weigh = keras.layers.Conv2D(scales, 1, name="weigh", **options)

    def build(self, input_shape: Sequence[Shape]) -> None:
        features = self._checked(input_shape)[self.scales :]
        self.hidden.build((None, None, None, sum(shape[-1] or 0 for shape in features)))
        self.weigh.build((None, None, None, self.filters))

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        scores, features = inputs[: self.scales], inputs[self.scales :]
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        weights = self.weigh(self.hidden(ops.concatenate(features, axis=-1)))
        weights = ops.softmax(ops.cast(weights, dtype), axis=-1)
        weighted = [ops.cast(each, dtype) * weights[..., s : s + 1] for s, each in enumerate(scores)]
        return ops.cast(sum(weighted[1:], start=weighted[0]), self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        return tuple(self._checked(input_shape)[0])

    def _checked(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        if len(shapes) != 2 * self.scales or not all(isinstance(shape, Sequence) for shape in shapes):
            raise ValueError(
                f"Expected the scores of {self.scales} scales followed by their features: {2 * self.scales} tensors. "
                f"Received shapes: {shapes}"
            )
        return shapes

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scales": self.scales, "filters": self.filters}
