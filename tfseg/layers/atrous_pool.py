"""Dilated max pooling, which replaces strided max pooling in a network with a reduced output stride."""

from collections.abc import Sequence
from typing import Any, Literal

import keras

from tfseg.layers.arguments import pair
from tfseg.ops.pool import atrous_max_pool
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Sizes = int | Sequence[int]


@serializable
class AtrousMaxPooling2D(keras.layers.Layer):
    """Dilated max pooling with stride 1.

    Where the stride of a pooling layer is removed to reduce the output stride of a network, all later convolutions and
    pooling layers must be dilated to keep their receptive fields. Every second position of the output of
    `AtrousMaxPooling2D(2, padding="same")` equals the output of `keras.layers.MaxPooling2D(2, 2, "same")`.

    Example:

    >>> import numpy as np
    >>> x = np.array([1.0, 5.0, 2.0, 3.0, 4.0]).reshape(1, 1, 5, 1)
    >>> np.ravel(AtrousMaxPooling2D(pool_size=(1, 2), dilation_rate=2)(x)).tolist()
    [2.0, 5.0, 4.0, 3.0, 4.0]

    Args:
        pool_size: Integer or pair of integers, height and width of the pooling window in taps.
        dilation_rate: Integer or pair of integers, spacing between the taps of a window.
        padding: Integer or pair of integers, number of taps above and to the left of the output position; less than
            `pool_size`. It equals the padding of the strided pooling layer that this layer replaces. `"same"`:
            `(pool_size - 1) // 2`, as in TensorFlow.

    Call arguments:
        x: Input feature map.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If `pool_size` or `dilation_rate` are not positive integers, or if `padding` is not less than
            `pool_size`.
    """

    def __init__(
        self,
        pool_size: Sizes = 2,
        dilation_rate: Sizes = 1,
        padding: Sizes | Literal["same"] = "same",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = pair("pool_size", pool_size)
        self.dilation_rate = pair("dilation_rate", dilation_rate)
        self.padding = "same" if padding == "same" else pair("padding", padding, least=0)
        if any(before >= size for before, size in zip(self.before, self.pool_size, strict=True)):
            raise ValueError(
                "`padding` must be less than `pool_size`, so that every window contains its output position. "
                f"Received: pool_size={self.pool_size}, padding={self.padding}"
            )

    @property
    def before(self) -> tuple[int, int]:
        """Number of taps above and to the left of the output position."""
        if isinstance(self.padding, str):
            return (self.pool_size[0] - 1) // 2, (self.pool_size[1] - 1) // 2
        return self.padding

    def call(self, x: Tensor) -> Tensor:
        return atrous_max_pool(x, self.pool_size, self.dilation_rate, self.before)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        own = {"pool_size": self.pool_size, "dilation_rate": self.dilation_rate, "padding": self.padding}
        return {**super().get_config(), **own}
