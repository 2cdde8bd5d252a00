"""Padding to an image size that fits the output stride of a network."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseg.serialization import serializable
from tfseg.typing import Tensor

Shape = Sequence[int | None]


@serializable
class PadToGrid(keras.layers.Layer):
    """Pads an image at the bottom and right to the next size of the form `multiple * k + remainder`.

    At `8 k + 1` pixels, the outermost feature map positions of a network with output stride 8 lie on the first and last
    pixels of the image; DeepLab pads images to such a size with the mean color that it subtracts. `CropLike(0)` reverts
    the padding. An input that already has a static size of this form is not padded.

    Example:

    >>> import numpy as np
    >>> image = np.zeros((1, 375, 500, 3))
    >>> tuple(PadToGrid(multiple=8, value=(122.7, 116.7, 104.0))(image).shape)
    (1, 377, 505, 3)

    Args:
        multiple: Integer, divisor of `height - remainder` and `width - remainder` of the output.
        remainder: Integer, less than `multiple`.
        value: Float, or sequence of floats per channel, value of the padding.

    Call arguments:
        x: Image, float or integer. The output has the compute dtype of the layer.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, new_height, new_width, channels]`.

    Raises:
        ValueError: If `multiple` is less than 1, if `remainder` is not less than `multiple`, or if the number of values
            does not match the number of channels.

    Reference:
        Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015: the
        released code pads images of at most 500 pixels to 513.
    """

    def __init__(self, multiple: int, remainder: int = 1, value: float | Sequence[float] = 0.0, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # pixels may be integers
        if not (isinstance(multiple, int) and isinstance(remainder, int) and 0 <= remainder < multiple):
            raise ValueError(
                "`multiple` must be an integer of at least 1 and `remainder` an integer from 0 to `multiple - 1`. "
                f"Received: multiple={multiple!r}, remainder={remainder!r}"
            )
        self.multiple, self.remainder = multiple, remainder
        self.value = list(map(float, value)) if isinstance(value, Sequence) else float(value)

    def build(self, input_shape: Shape) -> None:
        if isinstance(self.value, list) and len(self.value) != input_shape[-1]:
            raise ValueError(
                f"Expected an input of {len(self.value)} channels, one per value of `value`. "
                f"Received: input_shape={tuple(input_shape)}"
            )

    def call(self, x: Tensor) -> Tensor:
        x = ops.cast(x, self.compute_dtype)
        _, height, width, _ = ops.shape(x)
        missing = (self._missing(height), self._missing(width))
        if all(isinstance(side, int) and side == 0 for side in missing):
            return x  # an empty pad would remain in a TFLite file
        borders = [(0, 0), *((0, side) for side in missing), (0, 0)]
        padded = ops.pad(x, borders)
        if self.value == 0:
            return padded
        outside = 1 - ops.pad(ops.ones_like(x[:1, :, :, :1]), borders)
        return padded + outside * ops.convert_to_tensor(self.value, dtype=x.dtype)

    def _missing(self, length: Any) -> Any:
        return (self.remainder - length) % self.multiple

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        height, width = (None if side is None else side + self._missing(side) for side in input_shape[1:3])
        return input_shape[0], height, width, input_shape[3]

    def get_config(self) -> dict[str, Any]:
        own = {"multiple": self.multiple, "remainder": self.remainder, "value": self.value}
        return {**super().get_config(), **own}
