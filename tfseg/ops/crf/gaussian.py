"""Exact Gaussian filtering: separable over pixel positions, and brute-force over arbitrary features."""

import math
from typing import Any

import numpy as np
from keras import ops

from tfseg.typing import Tensor

TRUNCATE = 5
"""Number of standard deviations at which the kernel is truncated. The rest is less than one millionth of the sum."""

LANES = 16
"""Number of channels that a convolution processes at a time: float32 lanes of an AVX-512 register."""


def gaussian_taps(theta: float) -> np.ndarray:
    """Returns the taps `exp(-t^2 / 2 theta^2)` for `t` from `-r` to `r = ceil(5 theta)`: a NumPy array `[2 r + 1]`."""
    radius = math.ceil(TRUNCATE * theta)
    return np.exp(-0.5 * (np.arange(-radius, radius + 1) / theta) ** 2)


def gaussian_blur(x: Tensor, theta: float, fold: tuple[Any, Any] | None = None) -> Tensor:
    """Applies an unnormalized Gaussian filter to images, with zero padding.

    `y_i = sum_j exp(-|p_i - p_j|^2 / 2 theta^2) x_j` for the pixel positions `p`. The weight of a pixel in its own sum
    is 1.

    Args:
        x: Floating-point tensor `[batch, height, width, channels]`. Sizes may be unknown until the graph runs.
        theta: Standard deviation in pixels.
        fold: `fold_factor` of the width and of the height. Makes the filter faster for few channels.

    Returns:
        Tensor of the shape of `x`.
    """
    taps = ops.convert_to_tensor(gaussian_taps(theta), x.dtype)

    def blur(x: Tensor) -> Tensor:
        return _separable(x, taps) if fold is None else _folded_separable(x, taps, fold)

    @ops.custom_gradient
    def forward(x: Tensor) -> tuple[Tensor, Any]:
        def backward(*arguments: Tensor, upstream: Tensor = None) -> Tensor:  # the filter is its own transpose
            return blur(arguments[0] if upstream is None else upstream)

        return blur(x), backward

    return forward(x)


def _separable(x: Tensor, taps: Tensor) -> Tensor:
    """Convolves along the rows of the image, then of the transposed image, where memory access is contiguous."""
    for _ in range(2):
        x = ops.transpose(_depthwise(x, ops.reshape(taps, (1, -1, 1, 1))), (0, 2, 1, 3))
    return x


def _folded_separable(x: Tensor, taps: Tensor, fold: tuple[Any, Any]) -> Tensor:
    """Convolves along the columns with folded columns, then along the rows, transposed if it has few channels."""
    x = _along_columns(x, taps, fold[0])
    if x.shape[-1] >= LANES // 2:
        return _depthwise(x, ops.reshape(taps, (1, -1, 1, 1)))
    return ops.transpose(_along_columns(ops.transpose(x, (0, 2, 1, 3)), taps, fold[1]), (0, 2, 1, 3))


def _along_columns(x: Tensor, taps: Tensor, fold: Any) -> Tensor:
    batch, height, width, channels = ops.shape(x)
    folded = ops.reshape(x, (batch, height, width // fold, fold * channels))
    return ops.reshape(_depthwise(folded, ops.reshape(taps, (-1, 1, 1, 1))), (batch, height, width, channels))


def _depthwise(x: Tensor, kernel: Tensor) -> Tensor:
    return ops.depthwise_conv(x, ops.repeat(kernel, ops.shape(x)[-1], axis=2), 1, "same", "channels_last")


def fold_factor(width: int | Tensor, channels: int) -> int | Tensor:
    """Returns the number of neighboring columns to fold into the channels of a convolution along columns.

    It is the divisor of `width` that wastes the fewest SIMD lanes with at most `3 LANES` folded channels.

    Args:
        width: Width of the image: an integer or a scalar integer tensor.
        channels: Number of channels of the image.

    Returns:
        Integer, or scalar tensor if `width` is one.
    """
    factors = np.arange(1, max(1, 3 * LANES // channels) + 1, dtype="int32")
    use = factors * channels / LANES / np.ceil(factors * channels / LANES)
    if isinstance(width, int):
        return int(factors[np.argmax(use * (width % factors == 0))])
    return ops.take(factors, ops.argmax(ops.where(width % factors == 0, use, 0)))


def gaussian_sums(values: Tensor, features: Tensor) -> Tensor:
    """Applies a brute-force Gaussian filter: `y_i = sum_j exp(-|f_i - f_j|^2 / 2) values_j`.

    Time and memory are quadratic in the number of points. This is the reference for faster methods.

    Args:
        values: Tensor `[..., points, columns]`.
        features: Tensor `[..., points, dimensions]`, coordinates in standard deviations.

    Returns:
        Tensor `[..., points, columns]`.
    """
    squares: Any = 0
    for dimension in range(features.shape[-1]):
        f = features[..., dimension]
        squares = squares + (f[..., :, None] - f[..., None, :]) ** 2
    return ops.matmul(ops.exp(-0.5 * squares), values)
