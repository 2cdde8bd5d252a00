"""Cropping of one tensor to the size of another."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseg.layers.arguments import two_shapes
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Shape = Sequence[int | None]


@serializable
class CropLike(keras.layers.Layer):
    """Crops `x` at a given offset to the height and width of a reference tensor.

    This is Caffe's `Crop` layer on the two spatial axes. It crops the scores of a network with large padding to the
    image size, and the scores of a skip connection to the size of the upsampled scores.
    `tfseg.ops.geometry.crop_offset` computes the offset from kernel sizes, strides and paddings.

    Example:

    >>> import numpy as np
    >>> x, reference = np.arange(36.0).reshape(1, 6, 6, 1), np.zeros((1, 2, 2, 1))
    >>> CropLike(offset=3)([x, reference])[0, :, :, 0].numpy().tolist()
    [[21.0, 22.0], [27.0, 28.0]]

    Args:
        offset: Integer, first row and column of the crop.

    Call arguments:
        inputs: `[x, reference]`. Only the height and width of the reference are used.

    Input shape:
        `[[batch, height, width, channels], [batch, new_height, new_width, any]]`.

    Output shape:
        `[batch, new_height, new_width, channels]`.

    Raises:
        ValueError: If `offset` is negative, if there are not two inputs, or if the crop exceeds `x`.
    """

    def __init__(self, offset: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # the reference may be a uint8 or float32 image
        if not isinstance(offset, int) or offset < 0:
            raise ValueError(f"`offset` must be an integer of at least 0. Received: offset={offset!r}")
        self.offset = offset

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, reference = inputs
        batch, *size, channels = ops.shape(x)
        _, height, width, _ = ops.shape(reference)
        if self.offset == 0 and all(isinstance(side, int) for side in size) and size == [height, width]:
            return ops.cast(x, self.compute_dtype)
        crop = ops.slice(x, (0, self.offset, self.offset, 0), (batch, height, width, channels))
        return ops.cast(crop, self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        x, reference = two_shapes(input_shape)
        for size, length in zip(x[1:3], reference[1:3], strict=True):
            if size is not None and length is not None and size < length + self.offset:
                raise ValueError(
                    "Expected `x` to be larger than the reference by at least `offset` along each axis. "
                    f"Received: x.shape={tuple(x)}, reference.shape={tuple(reference)}, offset={self.offset}"
                )
        return x[0], *reference[1:3], x[3]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "offset": self.offset}
