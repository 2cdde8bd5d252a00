"""Caffe's pooling, whose output sizes round up and whose averages include the padding, and atrous max pooling.

TensorFlow's max pooling with `padding="same"` gives the same result for a 2x2 window with stride 2 (any size), and for
a 3x3 window with stride 2 and padding 1 on odd sizes. For the latter it differs on even sizes. For a 3x3 window with
stride 2 without padding (AlexNet, GoogLeNet) it differs on odd sizes, where TensorFlow also pads at the start.
TensorFlow's average pooling excludes the padding from the means.
"""

import functools
import math

from keras import ops

from tfseg.typing import Tensor

Pair = tuple[int, int]


def caffe_max_pool(x: Tensor, pool_size: Pair, strides: Pair, padding: Pair = (0, 0)) -> Tensor:
    """Applies max pooling with Caffe's output sizes. Padding does not affect the maxima.

    Args:
        x: Floating-point tensor `[batch, height, width, channels]`.
        pool_size: Pair of integers, height and width of the window.
        strides: Pair of integers, at most `pool_size`.
        padding: Pair of integers, number of rows added at the top and at the bottom and of columns added at the left
            and at the right, less than `pool_size`.

    Returns:
        Tensor `[batch, rows, columns, channels]` of the size `tfseg.ops.geometry.caffe_pool_size`.
    """
    if tuple(pool_size) == tuple(strides) == (2, 2) and not any(padding):
        return ops.max_pool(x, pool_size, strides, "same")  # same result without a padded copy
    widths = [(0, 0), *map(_borders, pool_size, strides, padding), (0, 0)]
    return ops.max_pool(ops.pad(x, widths, constant_values=-math.inf), pool_size, strides, "valid")


def caffe_average_pool(x: Tensor, pool_size: Pair, strides: Pair, padding: Pair = (0, 0)) -> Tensor:
    """Applies average pooling with Caffe's output sizes.

    Means include the zeros of the padding. They exclude positions beyond the padding, which a window covers where the
    output size was rounded up.

    Args:
        x: Floating-point tensor `[batch, height, width, channels]`.
        pool_size: Pair of integers, height and width of the window.
        strides: Pair of integers, at most `pool_size`.
        padding: Pair of integers, number of rows added at the top and at the bottom and of columns added at the left
            and at the right, less than `pool_size`.

    Returns:
        Tensor `[batch, rows, columns, channels]` of the size `tfseg.ops.geometry.caffe_pool_size`.
    """
    borders = list(map(_borders, pool_size, strides, padding))
    mean = ops.average_pool(ops.pad(x, [(0, 0), *borders, (0, 0)]), pool_size, strides, "valid")
    if all(before == after for before, after in borders):
        return mean
    inside = ops.pad(ops.ones_like(x[:1, :, :, :1]), [(0, 0), *((p, p) for p in padding), (0, 0)], constant_values=1)
    beyond = [(0, 0), *((0, after - before) for before, after in borders), (0, 0)]
    return mean / ops.average_pool(ops.pad(inside, beyond), pool_size, strides, "valid")


def _borders(pool_size: int, strides: int, padding: int) -> Pair:
    """Returns the padding before and after with which a pooling that rounds down has Caffe's output size.

    With the padding `e` after, the output size is `floor((n + p + e - k) / s) + 1`. For `e = p + s - 1`, this is
    `ceil((n + 2p - k) / s) + 1`. For `e = k - 1`, it is the number of windows that start before `n + p`. Caffe's size
    is the smaller of the two, because Caffe drops windows that start in the padding after.
    """
    return padding, min(padding + strides - 1, pool_size - 1)


def atrous_max_pool(x: Tensor, pool_size: Pair, dilation_rate: Pair, before: Pair) -> Tensor:
    """Applies max pooling with dilated windows and stride 1. Padding does not affect the maxima.

    Args:
        x: Floating-point tensor `[batch, height, width, channels]`.
        pool_size: Pair of integers, number of rows and columns of taps.
        dilation_rate: Pair of integers, dilation rate along height and width.
        before: Pair of integers, number of taps above and left of the output position, less than `pool_size`.

    Returns:
        Tensor `[batch, height, width, channels]`.
    """
    borders = [
        (first * rate, (size - 1 - first) * rate)
        for size, rate, first in zip(pool_size, dilation_rate, before, strict=True)
    ]
    x = ops.pad(x, [(0, 0), *borders, (0, 0)], constant_values=-math.inf)
    for axis, (size, rate) in enumerate(zip(pool_size, dilation_rate, strict=True), start=1):
        shifted = [_trimmed(x, axis, tap * rate, (size - 1 - tap) * rate) for tap in range(size)]
        x = functools.reduce(ops.maximum, shifted)
    return x


def _trimmed(x: Tensor, axis: int, first: int, last: int) -> Tensor:
    """Returns `x` without its `first` first and `last` last elements along `axis`."""
    return x[(slice(None),) * axis + (slice(first, -last or None),)]
