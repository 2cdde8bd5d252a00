"""Making a map large enough for what comes after it."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseg.layers.arguments import pair
from tfseg.serialization import serializable

Shape = Sequence[int | None]


@serializable
class PadToSize(keras.layers.Layer):
    """Puts zeros below and to the right of a map, until it is as large as a window that is to be laid on it.

    Maps that are large enough pass unchanged. `CropLike(0)` undoes it.

    Example:

    >>> import numpy as np
    >>> [tuple(PadToSize(7)(np.ones((1, *size, 2))).shape) for size in ((3, 9), (7, 7))]
    [(1, 7, 9, 2), (1, 7, 7, 2)]

    Args:
        size: the least height and width.

    Call arguments:
        x: a tensor.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, max(height, size), max(width, size), channels]`.

    Raises:
        ValueError: sizes that are no positive integers.
    """

    def __init__(self, size: int | Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = pair("size", size)

    def call(self, x: Any) -> Any:
        missing = [_missing(length, least) for length, least in zip(ops.shape(x)[1:3], self.size, strict=True)]
        return ops.pad(x, [(0, 0), (0, missing[0]), (0, missing[1]), (0, 0)])

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        sides = zip(input_shape[1:3], self.size, strict=True)
        height, width = (None if length is None else max(length, least) for length, least in sides)
        return input_shape[0], height, width, input_shape[3]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


def _missing(length: Any, least: int) -> Any:
    return max(least - length, 0) if isinstance(length, int) else ops.maximum(least - length, 0)
