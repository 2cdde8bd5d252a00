"""Gaussian sums over an image, exact: separable where only places count, and by force where anything does."""

import math
from typing import Any

import numpy as np
from keras import ops

REACH = 5
"""Standard deviations after which the kernel is cut off. What lies beyond is less than one millionth of the sum."""

LANES = 16
"""Channels that a convolution takes at a time, whether they are there or not: float32 in a register of AVX-512."""


def gaussian_taps(theta: float) -> Any:
    """`exp(-t^2 / 2 theta^2)` for the whole `t` from `-r` to `r = ceil(5 theta)`: a NumPy array `[2 r + 1]`."""
    radius = math.ceil(REACH * theta)
    return np.exp(-0.5 * (np.arange(-radius, radius + 1) / theta) ** 2)


def gaussian_blur(x: Any, theta: float, abreast: tuple[Any, Any] | None = None) -> Any:
    """Sums the values of all pixels, weighted by a Gaussian of their distance; beyond the borders there is nothing.

    Args:
        x: `[batch, height, width, channels]`, floating. Sizes may be unknown until the graph runs.
        theta: standard deviation in pixels.
        abreast: `columns_abreast` of the width and of the height, which makes it faster for few channels.

    Returns:
        `sum_j exp(-|p_i - p_j|^2 / 2 theta^2) x_j` in the shape of `x`. The weights are not normalized: that of a pixel
        for itself is 1.
    """
    taps = ops.convert_to_tensor(gaussian_taps(theta), x.dtype)

    def along_both(x: Any) -> Any:
        return _transposing(x, taps) if abreast is None else _abreast(x, taps, abreast)

    @ops.custom_gradient
    def forth(x: Any) -> tuple[Any, Any]:
        def back(*arguments: Any, upstream: Any = None) -> Any:  # the kernel is symmetric, and zero is outside
            return along_both(arguments[0] if upstream is None else upstream)

        return along_both(x), back

    return forth(x)


def _transposing(x: Any, taps: Any) -> Any:
    """Along the rows of the image, and along those of the transposed image: columns would lie too far apart."""
    for _ in range(2):
        x = ops.transpose(_depthwise(x, ops.reshape(taps, (1, -1, 1, 1))), (0, 2, 1, 3))
    return x


def _abreast(x: Any, taps: Any, abreast: tuple[Any, Any]) -> Any:
    """Along the columns, so many at once; and along the rows, transposed to columns where that is little to move."""
    x = _down(x, taps, abreast[0])
    if x.shape[-1] >= LANES // 2:
        return _depthwise(x, ops.reshape(taps, (1, -1, 1, 1)))
    return ops.transpose(_down(ops.transpose(x, (0, 2, 1, 3)), taps, abreast[1]), (0, 2, 1, 3))


def _down(x: Any, taps: Any, abreast: Any) -> Any:
    batch, height, width, channels = ops.shape(x)
    blocks = ops.reshape(x, (batch, height, width // abreast, abreast * channels))
    return ops.reshape(_depthwise(blocks, ops.reshape(taps, (-1, 1, 1, 1))), (batch, height, width, channels))


def _depthwise(x: Any, kernel: Any) -> Any:
    return ops.depthwise_conv(x, ops.repeat(kernel, ops.shape(x)[-1], axis=2), 1, "same", "channels_last")


def columns_abreast(width: Any, channels: int) -> Any:
    """How many columns of an image are best convolved as one, of so many times the channels.

    Args:
        width: of the image: an integer, or a scalar integer tensor.
        channels: of the image.

    Returns:
        Of the numbers that divide `width` and make no more than `3 LANES` channels, the one that leaves the fewest
        lanes idle: an integer or a scalar tensor.
    """
    numbers = np.arange(1, max(1, 3 * LANES // channels) + 1, dtype="int32")
    use = numbers * channels / LANES / np.ceil(numbers * channels / LANES)
    if isinstance(width, int):
        return int(numbers[np.argmax(use * (width % numbers == 0))])
    return ops.take(numbers, ops.argmax(ops.where(width % numbers == 0, use, 0)))


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
