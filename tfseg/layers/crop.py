"""Cutting one tensor to the place and size of another."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseg.layers.arguments import two_shapes
from tfseg.serialization import serializable

Shape = Sequence[int | None]


@serializable
class CropLike(keras.layers.Layer):
    """Cuts the height and width of a reference out of `x`, from a given offset on.

    This is Caffe's `Crop` on the two spatial axes: scores of a padded net reach beyond the image, and skip scores
    beyond the upsampled ones. `tfseg.ops.geometry.crop_offset` computes the offset from kernels, strides and paddings.

    Example:

    >>> import numpy as np
    >>> x, reference = np.arange(36.0).reshape(1, 6, 6, 1), np.zeros((1, 2, 2, 1))
    >>> CropLike(offset=3)([x, reference])[0, :, :, 0].numpy().tolist()
    [[21.0, 22.0], [27.0, 28.0]]

    Args:
        offset: how many rows and columns of `x` lie before the first of the result.

    Call arguments:
        inputs: `[x, reference]`; of the reference only the height and width matter.

    Input shape:
        `[[batch, height, width, channels], [batch, new_height, new_width, any]]`.

    Output shape:
        `[batch, new_height, new_width, channels]`.

    Raises:
        ValueError: a negative offset, one input, or an `x` that ends before the crop does.
    """

    def __init__(self, offset: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # the reference may be a uint8 or float32 image
        if not isinstance(offset, int) or offset < 0:
            raise ValueError(f"`offset` must be an integer of at least 0. Received: offset={offset!r}")
        self.offset = offset

    def call(self, inputs: Sequence[Any]) -> Any:
        x, reference = inputs
        batch, *size, channels = ops.shape(x)
        _, height, width, _ = ops.shape(reference)
        if self.offset == 0 and all(isinstance(side, int) for side in size) and size == [height, width]:
            return ops.cast(x, self.compute_dtype)
        cut = ops.slice(x, (0, self.offset, self.offset, 0), (batch, height, width, channels))
        return ops.cast(cut, self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        x, reference = two_shapes(input_shape)
        for size, cut in zip(x[1:3], reference[1:3], strict=True):
            if size is not None and cut is not None and size < cut + self.offset:
                raise ValueError(
                    f"Expected `x` to reach {self.offset} beyond its reference at least. "
                    f"Received: x.shape={tuple(x)}, reference.shape={tuple(reference)}, offset={self.offset}"
                )
        return x[0], *reference[1:3], x[3]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "offset": self.offset}
