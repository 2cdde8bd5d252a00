"""A factor that is not learned."""

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.serialization import serializable


@serializable
class FixedScale(keras.layers.Layer):
    """Multiplies every channel by a weight that is set once and never learned.

    FCN-8s "at once" scales the features of pool4 by 0.01 and of pool3 by 0.0001 before they are scored, so that all
    strides can be trained together. As in Caffe the factor is a weight for each channel, and is saved with the others.

    Example:

    >>> import numpy as np
    >>> np.ravel(FixedScale(0.5)(np.array([[[[2.0, 4.0]]]]))).tolist()
    [1.0, 2.0]

    Args:
        factor: the value of every weight.

    Call arguments:
        x: a tensor.

    Input shape:
        `[..., channels]`.

    Output shape:
        The same.

    Reference:
        Shelhamer, Long, Darrell, "Fully Convolutional Networks for Semantic Segmentation", PAMI 2017, section 4.3.
    """

    def __init__(self, factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape: Sequence[int | None]) -> None:
        initializer = keras.initializers.Constant(self.factor)
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer=initializer, trainable=False, name="scale")

    def call(self, x: Any) -> Any:
        return x * self.scale

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}
