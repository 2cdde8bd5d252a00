"""Padding by reflection, at any size."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseg.serialization import serializable

Shape = Sequence[int | None]


@serializable
class MirrorPadding2D(keras.layers.Layer):
    """Continues a map beyond its borders by its mirror image, the border itself not repeated.

    `dcb|abcd|cba`: what OpenCV calls `BORDER_REFLECT_101`. A map that is smaller than the padding is mirrored again and
    again, where TensorFlow's `MirrorPad` refuses; a single row or column is repeated. Below and to the right come as
    many rows and columns more as make the map itself a multiple of `multiple`.

    Example:

    >>> import numpy as np
    >>> np.ravel(MirrorPadding2D(padding=3)(np.arange(3.0).reshape(1, 1, 3, 1))[:, 0]).tolist()
    [1.0, 2.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0]

    Args:
        padding: rows added above and below, columns added left and right.
        multiple: what height and width without the padding are brought to a multiple of.

    Call arguments:
        x: a tensor.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, new_height, new_width, channels]`, where `new_height` is `2 padding` more than the least multiple of
        `multiple` that is not below `height`, and so for the width.

    Raises:
        ValueError: a padding below 0, or a multiple below 1.

    Reference:
        Yu, Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016, section 4: "we use reflection
        padding".
    """

    def __init__(self, padding: int, multiple: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(padding, int) or not isinstance(multiple, int) or padding < 0 or multiple < 1:
            raise ValueError(
                "`padding` must be an integer of at least 0 and `multiple` one of at least 1. "
                f"Received: padding={padding!r}, multiple={multiple!r}"
            )
        self.padding, self.multiple = padding, multiple

    def call(self, x: Any) -> Any:
        _, height, width, _ = ops.shape(x)
        return ops.take(ops.take(x, self._places(height), axis=1), self._places(width), axis=2)

    def _places(self, length: Any) -> Any:
        """Where each row or column of the result is found in a map of that length."""
        steps = ops.arange(self._size(length), dtype="int32") - self.padding
        period = ops.maximum(2 * (length - 1), 1)  # of a single row, whose every step is 0
        steps = ops.mod(steps, period)
        return ops.minimum(steps, period - steps)

    def _size(self, length: Any) -> Any:
        return -(-length // self.multiple) * self.multiple + 2 * self.padding

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        height, width = (None if length is None else self._size(length) for length in input_shape[1:3])
        return input_shape[0], height, width, input_shape[3]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding, "multiple": self.multiple}
