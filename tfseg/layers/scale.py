"""Scaling by a non-trainable factor."""

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class FixedScale(keras.layers.Layer):
    """Multiplies every channel by a constant, non-trainable weight.

    At-once training of FCN-8s scales the features of pool4 by 0.01 and those of pool3 by 0.0001 before their score
    convolutions, so that the network is trained in one stage instead of three. As in Caffe, the factor is one weight
    per channel and is saved with the other weights.

    Example:

    >>> import numpy as np
    >>> np.ravel(FixedScale(0.5)(np.array([[[[2.0, 4.0]]]]))).tolist()
    [1.0, 2.0]

    Args:
        factor: Float, initial value of every weight.

    Call arguments:
        x: Input tensor.

    Input shape:
        `[..., channels]`.

    Output shape:
        Same as the input.

    Reference:
        Shelhamer, Long, Darrell, "Fully Convolutional Networks for Semantic Segmentation", PAMI 2017, section 4.3.
    """

    def __init__(self, factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape: Sequence[int | None]) -> None:
        initializer = keras.initializers.Constant(self.factor)
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer=initializer, trainable=False, name="scale")

    def call(self, x: Tensor) -> Tensor:
        return x * self.scale

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}
