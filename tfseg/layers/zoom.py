"""DeepLab's two resizes: a net's input by a factor, and its scores back onto every pixel."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import keras
from keras import ops

from tfseg.layers.arguments import two_shapes
from tfseg.ops.geometry import interp_size
from tfseg.ops.resize import resize, zoom
from tfseg.serialization import serializable

Shape = Sequence[int | None]


@serializable
class ZoomLike(keras.layers.Layer):
    """Lays place `i` of `x` onto pixel `factor * i` of a reference, and interpolates bilinearly between the places.

    This is Caffe's `Interp` with a zoom factor, which makes `factor (n - 1) + 1` pixels of `n` places, cut to the
    reference. Where that ends less than `factor` pixels before the reference does, the last place goes on. `ResizeLike`
    with aligned corners is equal where the reference has exactly `factor (n - 1) + 1` pixels, and elsewhere stretches.

    Example:

    >>> import numpy as np
    >>> places, pixels = np.array([0.0, 4.0, 8.0]).reshape(1, 1, 3, 1), np.zeros((1, 2, 10, 3))
    >>> np.asarray(ZoomLike(4)([places, pixels]))[0, 1, :, 0].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.0]

    Args:
        factor: pixels from one place to the next.

    Call arguments:
        inputs: `[x, reference]`; of the reference only the height and width matter.

    Input shape:
        `[[batch, height, width, channels], [batch, new_height, new_width, any]]`, where `new_height` is at most
        `factor * height`, and so for the width.

    Output shape:
        `[batch, new_height, new_width, channels]`.

    Raises:
        ValueError: a factor that is no positive integer, one input, or a reference that is known to be too large.

    Reference:
        `interp_layer.cpp` of DeepLab's Caffe.
    """

    def __init__(self, factor: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # the reference may be a uint8 or float32 image
        if not isinstance(factor, int) or factor < 1:
            raise ValueError(f"`factor` must be an integer of at least 1. Received: factor={factor!r}")
        self.factor = factor
        self.supports_jit = False  # XLA interpolates wrongly, see tfseg/ops/resize.py

    def call(self, inputs: Sequence[Any]) -> Any:
        x, reference = inputs
        x = ops.cast(x, "float32")  # a float32 head on half scores must not round what it interpolates
        _, height, width, _ = ops.shape(reference)
        return ops.cast(zoom(x, self.factor, (height, width)), self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        x, reference = two_shapes(input_shape)
        for places, size in zip(x[1:3], reference[1:3], strict=True):
            if places is not None and size is not None and size > self.factor * places:
                raise ValueError(
                    f"Expected a reference of at most {self.factor} times the height and width of `x`. "
                    f"Received: x.shape={tuple(x)}, reference.shape={tuple(reference)}"
                )
        return x[0], *reference[1:3], x[3]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@serializable
class ResizeBy(keras.layers.Layer):
    """Resizes bilinearly by a fraction `p / q`, with aligned corners: `n` pixels become `(n - 1) // q * p + 1`.

    This is Caffe's `Interp`, and what `model.scales` does to an image: 321 pixels become 241 and 161 for the factors
    0.75 and 0.5 of DeepLab v2.

    Example:

    >>> import numpy as np
    >>> [tuple(ResizeBy(scale)(np.zeros((1, 321, 513, 3))).shape)[1:3] for scale in (0.75, 0.5)]
    [(241, 385), (161, 257)]

    Args:
        scale: the factor, at least 0.01; it counts as a fraction of a denominator up to 100.

    Call arguments:
        x: a tensor.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, new_height, new_width, channels]`.

    Raises:
        ValueError: a smaller factor.

    Reference:
        Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
        Connected CRFs", PAMI 2018, section 3.3 (multi-scale inputs).
    """

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # pixels must not be rounded before they are interpolated
        if not scale >= 0.01:
            raise ValueError(f"`scale` must be at least 0.01. Received: scale={scale!r}")
        self.scale = scale
        self.fraction = Fraction(scale).limit_denominator(100)
        self.supports_jit = False  # XLA interpolates wrongly, see tfseg/ops/resize.py

    def call(self, x: Any) -> Any:
        _, height, width, _ = ops.shape(x)
        size = (interp_size(height, self.fraction), interp_size(width, self.fraction))
        return ops.cast(resize(ops.cast(x, "float32"), size, "bilinear", align_corners=True), self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        sides = (None if length is None else interp_size(length, self.fraction) for length in input_shape[1:3])
        return input_shape[0], *sides, input_shape[3]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}
