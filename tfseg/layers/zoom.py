"""Resizing with aligned corners, as Caffe's `Interp` layer does in DeepLab: by a factor, and to a reference."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import keras
from keras import ops

from tfseg.layers.arguments import two_shapes
from tfseg.ops.geometry import interp_size
from tfseg.ops.resize import resize, zoom
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Shape = Sequence[int | None]


@serializable
class ZoomLike(keras.layers.Layer):
    """Upsamples `x` bilinearly so that position `i` lies on pixel `factor * i`, cropped to a reference tensor.

    This is Caffe's `Interp` layer with a zoom factor, which turns `n` positions into `factor (n - 1) + 1` pixels,
    followed by a crop to the reference. The last position is repeated for up to `factor - 1` pixels at the end of the
    reference. `ResizeLike` with aligned corners is equivalent if the reference has exactly `factor (n - 1) + 1` pixels,
    and stretches `x` otherwise.

    Example:

    >>> import numpy as np
    >>> x, reference = np.array([0.0, 4.0, 8.0]).reshape(1, 1, 3, 1), np.zeros((1, 2, 10, 3))
    >>> np.asarray(ZoomLike(4)([x, reference]))[0, 1, :, 0].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.0]

    Args:
        factor: Integer, pixels per feature map position.

    Call arguments:
        inputs: `[x, reference]`. Only the height and width of the reference are used.

    Input shape:
        `[[batch, height, width, channels], [batch, new_height, new_width, any]]`, where `new_height` is at most
        `factor * height` and `new_width` at most `factor * width`.

    Output shape:
        `[batch, new_height, new_width, channels]`.

    Raises:
        ValueError: If `factor` is not a positive integer, if there are not two inputs, or if the static size of the
            reference is too large.

    Reference:
        `interp_layer.cpp` of DeepLab's Caffe.
    """

    def __init__(self, factor: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # the reference may be a uint8 or float32 image
        if not isinstance(factor, int) or factor < 1:
            raise ValueError(f"`factor` must be an integer of at least 1. Received: factor={factor!r}")
        self.factor = factor
        self.supports_jit = False  # resizing gives wrong values under XLA, see tfseg/ops/resize.py

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, reference = inputs
        x = ops.cast(x, "float32")  # do not round to half precision before interpolating
        _, height, width, _ = ops.shape(reference)
        return ops.cast(zoom(x, self.factor, (height, width)), self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        x, reference = two_shapes(input_shape)
        for length, size in zip(x[1:3], reference[1:3], strict=True):
            if length is not None and size is not None and size > self.factor * length:
                raise ValueError(
                    f"Expected a reference of at most {self.factor} times the height and width of `x`. "
                    f"Received: x.shape={tuple(x)}, reference.shape={tuple(reference)}"
                )
        return x[0], *reference[1:3], x[3]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@serializable
class ResizeBy(keras.layers.Layer):
    """Resizes bilinearly by a fraction `p / q` with aligned corners: `n` pixels become `(n - 1) // q * p + 1`.

    This is Caffe's `Interp` layer. `model.scales` applies it to the image: 321 pixels become 241 and 161 for the
    factors 0.75 and 0.5 of DeepLab v2.

    Example:

    >>> import numpy as np
    >>> [tuple(ResizeBy(scale)(np.zeros((1, 321, 513, 3))).shape)[1:3] for scale in (0.75, 0.5)]
    [(241, 385), (161, 257)]

    Args:
        scale: Float, resize factor of at least 0.01, approximated by a fraction with a denominator of at most 100.

    Call arguments:
        x: Input image or feature map.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, new_height, new_width, channels]`.

    Raises:
        ValueError: If `scale` is less than 0.01.

    Reference:
        Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
        Connected CRFs", PAMI 2018, section 3.2 (multi-scale inputs).
    """

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # do not round pixels before interpolating
        if not scale >= 0.01:
            raise ValueError(f"`scale` must be at least 0.01. Received: scale={scale!r}")
        self.scale = scale
        self.fraction = Fraction(scale).limit_denominator(100)
        self.supports_jit = False  # resizing gives wrong values under XLA, see tfseg/ops/resize.py

    def call(self, x: Tensor) -> Tensor:
        _, height, width, _ = ops.shape(x)
        size = (interp_size(height, self.fraction), interp_size(width, self.fraction))
        return ops.cast(resize(ops.cast(x, "float32"), size, "bilinear", align_corners=True), self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        sides = (None if length is None else interp_size(length, self.fraction) for length in input_shape[1:3])
        return input_shape[0], *sides, input_shape[3]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}
