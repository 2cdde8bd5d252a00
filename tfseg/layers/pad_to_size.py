"""Padding to a minimum size."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseg.layers.arguments import pair
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Shape = Sequence[int | None]


@serializable
class PadToSize(keras.layers.Layer):
    """Pads a feature map with zeros at the bottom and right to a minimum height and width.

    Larger feature maps are returned unchanged. `CropLike(0)` reverts the padding.

    Example:

    >>> import numpy as np
    >>> [tuple(PadToSize(7)(np.ones((1, *size, 2))).shape) for size in ((3, 9), (7, 7))]
    [(1, 7, 9, 2), (1, 7, 7, 2)]

    Args:
        size: Integer or pair of integers, minimum height and width.

    Call arguments:
        x: Input feature map.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, max(height, size), max(width, size), channels]`.

    Raises:
        ValueError: If `size` is not one or two positive integers.
    """

    def __init__(self, size: int | Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = pair("size", size)

    def call(self, x: Tensor) -> Tensor:
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
