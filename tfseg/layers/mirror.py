"""Reflection padding at any size."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseg.serialization import serializable
from tfseg.typing import Tensor

Shape = Sequence[int | None]


@serializable
class MirrorPadding2D(keras.layers.Layer):
    """Pads a feature map by reflection without repeating the border pixels.

    `dcb|abcd|cba`, OpenCV's `BORDER_REFLECT_101`. A feature map smaller than the padding is reflected repeatedly, where
    TensorFlow's `MirrorPad` raises an error; a single row or column is repeated. At the bottom and right, additional
    rows and columns make the size without the padding a multiple of `multiple`.

    Example:

    >>> import numpy as np
    >>> np.ravel(MirrorPadding2D(padding=3)(np.arange(3.0).reshape(1, 1, 3, 1))[:, 0]).tolist()
    [1.0, 2.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0]

    Args:
        padding: Integer, number of rows and columns added on each side.
        multiple: Integer. Height and width, without `padding`, are increased to a multiple of it.

    Call arguments:
        x: Input feature map.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, new_height, new_width, channels]`, where `new_height` is `2 * padding` plus the smallest multiple of
        `multiple` that is at least `height`; `new_width` likewise.

    Raises:
        ValueError: If `padding` is negative or `multiple` is less than 1.

    Reference:
        Yu, Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016, section 4: "we use reflection
        padding".
    """

    def __init__(self, padding: int, multiple: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(padding, int) or not isinstance(multiple, int) or padding < 0 or multiple < 1:
            raise ValueError(
                "`padding` must be an integer of at least 0 and `multiple` an integer of at least 1. "
                f"Received: padding={padding!r}, multiple={multiple!r}"
            )
        self.padding, self.multiple = padding, multiple

    def call(self, x: Tensor) -> Tensor:
        _, height, width, _ = ops.shape(x)
        return ops.take(ops.take(x, self._indices(height), axis=1), self._indices(width), axis=2)

    def _indices(self, length: Any) -> Tensor:
        """Returns the input index of each output row or column for an axis of the given length."""
        positions = ops.arange(self._size(length), dtype="int32") - self.padding
        period = ops.maximum(2 * (length - 1), 1)  # 1 for a single row
        positions = ops.mod(positions, period)
        return ops.minimum(positions, period - positions)

    def _size(self, length: Any) -> Any:
        return -(-length // self.multiple) * self.multiple + 2 * self.padding

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        height, width = (None if length is None else self._size(length) for length in input_shape[1:3])
        return input_shape[0], height, width, input_shape[3]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding, "multiple": self.multiple}
