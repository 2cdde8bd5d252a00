"""Max pooling with holes: what a pooling layer becomes where a net gives up its stride."""

from collections.abc import Sequence
from typing import Any, Literal

import keras

from tfseg.layers.arguments import pair
from tfseg.ops.pool import atrous_max_pool
from tfseg.serialization import serializable

Sizes = int | Sequence[int]


@serializable
class AtrousMaxPooling2D(keras.layers.Layer):
    """Max pooling at every place, over windows whose elements lie `dilation_rate` places apart.

    A net that is to compute what it computes at stride 32, at more places, must dilate what follows a pool whose stride
    it gives up: convolutions and pools. Every second place of `AtrousMaxPooling2D(2, padding="same")` is what
    `keras.layers.MaxPooling2D(2, 2, "same")` gives.

    Example:

    >>> import numpy as np
    >>> x = np.array([1.0, 5.0, 2.0, 3.0, 4.0]).reshape(1, 1, 5, 1)
    >>> np.ravel(AtrousMaxPooling2D(pool_size=(1, 2), dilation_rate=2)(x)).tolist()
    [2.0, 5.0, 4.0, 3.0, 4.0]

    Args:
        pool_size: height and width of a window, in elements that it sees.
        dilation_rate: rows and columns from one element to the next.
        padding: how many elements of a window lie above and left of its place: the padding of the pool that it stands
            for, less than the window. `"same"`: the smaller half, as in TensorFlow.

    Call arguments:
        x: a tensor.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        The same.

    Raises:
        ValueError: sizes or rates that are no positive integers, or padding as great as the window.
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
                "`padding` must be less than `pool_size`, so that every window sees its place. "
                f"Received: pool_size={self.pool_size}, padding={self.padding}"
            )

    @property
    def before(self) -> tuple[int, int]:
        """How many elements of a window lie above and left of its place."""
        if isinstance(self.padding, str):
            return (self.pool_size[0] - 1) // 2, (self.pool_size[1] - 1) // 2
        return self.padding

    def call(self, x: Any) -> Any:
        return atrous_max_pool(x, self.pool_size, self.dilation_rate, self.before)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        own = {"pool_size": self.pool_size, "dilation_rate": self.dilation_rate, "padding": self.padding}
        return {**super().get_config(), **own}
