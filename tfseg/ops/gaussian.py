"""Gaussian sums over an image, exact: separable where only places count, and by force where anything does."""

import math
from typing import Any

import numpy as np
from keras import ops

REACH = 5
"""Standard deviations after which the kernel is cut off. What lies beyond is less than one millionth of the sum."""


def gaussian_taps(theta: float) -> Any:
    """`exp(-t^2 / 2 theta^2)` for the whole `t` from `-r` to `r = ceil(5 theta)`: a NumPy array `[2 r + 1]`."""
    radius = math.ceil(REACH * theta)
    return np.exp(-0.5 * (np.arange(-radius, radius + 1) / theta) ** 2)


def gaussian_blur(x: Any, theta: float) -> Any:
    """Sums the values of all pixels, weighted by a Gaussian of their distance; beyond the borders there is nothing.

    Args:
        x: `[batch, height, width, channels]`, floating. Sizes may be unknown until the graph runs.
        theta: standard deviation in pixels.

    Returns:
        `sum_j exp(-|p_i - p_j|^2 / 2 theta^2) x_j` in the shape of `x`. The weights are not normalised: that of a pixel
        for itself is 1.
    """
    taps = ops.convert_to_tensor(gaussian_taps(theta), x.dtype)

    @ops.custom_gradient
    def forth(x: Any) -> tuple[Any, Any]:
        def back(*arguments: Any, upstream: Any = None) -> Any:  # the kernel is symmetric, and zero is outside
            return _separable(arguments[0] if upstream is None else upstream, taps)

        return _separable(x, taps), back

    return forth(x)


def _separable(x: Any, taps: Any) -> Any:
    """Along the rows of the image, and along those of the transposed image: columns would lie too far apart."""
    kernel = ops.repeat(ops.reshape(taps, (1, -1, 1, 1)), x.shape[-1], axis=2)
    for _ in range(2):
        x = ops.transpose(ops.depthwise_conv(x, kernel, 1, "same", "channels_last"), (0, 2, 1, 3))
    return x


def gaussian_sums(values: Any, features: Any) -> Any:
    """Sums the values of all points, weighted by a Gaussian of their distance, one pair after the other.

    Time and memory grow with the square of the points: this is what faster ways are measured by.

    Args:
        values: `[..., points, columns]`.
        features: `[..., points, dimensions]`: places in units of the standard deviation.

    Returns:
        `sum_j exp(-|f_i - f_j|^2 / 2) values_j`: `[..., points, columns]`.
    """
    squares: Any = 0
    for dimension in range(features.shape[-1]):
        f = features[..., dimension]
        squares = squares + (f[..., :, None] - f[..., None, :]) ** 2
    return ops.matmul(ops.exp(-0.5 * squares), values)
