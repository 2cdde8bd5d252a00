"""Pooling as Caffe does it: sizes round up, and averages count the padding.

TensorFlow's `padding="same"` computes the same maximum for a 2x2 window with stride 2 (any size), and for a 3x3 window
with stride 2 and padding 1 on odd sizes only. It differs for a 3x3 window with stride 2 without padding (AlexNet,
GoogLeNet), where it puts half of the missing border in front, and on even sizes; and its averages leave padding out.
"""

import functools
import math
from typing import Any

from keras import ops

Pair = tuple[int, int]


def caffe_max_pool(x: Any, pool_size: Pair, strides: Pair, padding: Pair = (0, 0)) -> Any:
    """Maximum over windows, with Caffe's sizes; padding never wins.

    Args:
        x: `[batch, height, width, channels]`, floating.
        pool_size: height and width of a window.
        strides: rows and columns from one window to the next, at most the window's.
        padding: rows added above and below, columns added left and right, less than the window's.

    Returns:
        `[batch, caffe_pool_size(height, …), caffe_pool_size(width, …), channels]` (`tfseg.ops.geometry`).
    """
    if tuple(pool_size) == tuple(strides) == (2, 2) and not any(padding):
        return ops.max_pool(x, pool_size, strides, "same")  # equal there, and saves a padded copy
    widths = [(0, 0), *map(_borders, pool_size, strides, padding), (0, 0)]
    return ops.max_pool(ops.pad(x, widths, constant_values=-math.inf), pool_size, strides, "valid")


def caffe_average_pool(x: Any, pool_size: Pair, strides: Pair, padding: Pair = (0, 0)) -> Any:
    """Mean over windows, with Caffe's sizes.

    Zeros of the padding count as elements; what lies beyond the padding, where a window overhangs because the size was
    rounded up, does not.

    Args:
        x: `[batch, height, width, channels]`, floating.
        pool_size: height and width of a window.
        strides: rows and columns from one window to the next, at most the window's.
        padding: rows added above and below, columns added left and right, less than the window's.

    Returns:
        `[batch, caffe_pool_size(height, …), caffe_pool_size(width, …), channels]`.
    """
    borders = list(map(_borders, pool_size, strides, padding))
    mean = ops.average_pool(ops.pad(x, [(0, 0), *borders, (0, 0)]), pool_size, strides, "valid")
    if all(before == after for before, after in borders):
        return mean
    inside = ops.pad(ops.ones_like(x[:1, :, :, :1]), [(0, 0), *((p, p) for p in padding), (0, 0)], constant_values=1)
    beyond = [(0, 0), *((0, after - before) for before, after in borders), (0, 0)]
    return mean / ops.average_pool(ops.pad(inside, beyond), pool_size, strides, "valid")


def _borders(pool_size: int, strides: int, padding: int) -> Pair:
    """Padding before and after that turns a pooling whose size rounds down into Caffe's, whatever the size is.

    `floor((n + p + e - k) / s) + 1` is Caffe's rounded-up size for `e = p + s - 1`, and the number of windows that
    start before `n + p` for `e = k - 1`; the smaller one is Caffe's size with the windows beyond clipped.
    """
    return padding, min(padding + strides - 1, pool_size - 1)


def atrous_max_pool(x: Any, pool_size: Pair, dilation_rate: Pair, before: Pair) -> Any:
    """Maximum over windows with holes, one window for each element; padding never wins.

    Args:
        x: `[batch, height, width, channels]`, floating.
        pool_size: height and width of a window, in elements that it sees.
        dilation_rate: rows and columns from one element of a window to the next.
        before: how many elements of a window lie above and left of the one that it belongs to, less than the window's.

    Returns:
        `[batch, height, width, channels]`.
    """
    reach = [
        (first * rate, (size - 1 - first) * rate)
        for size, rate, first in zip(pool_size, dilation_rate, before, strict=True)
    ]
    x = ops.pad(x, [(0, 0), *reach, (0, 0)], constant_values=-math.inf)
    for axis, (size, rate) in enumerate(zip(pool_size, dilation_rate, strict=True), start=1):
        shifted = [_without(x, axis, each * rate, (size - 1 - each) * rate) for each in range(size)]
        x = functools.reduce(ops.maximum, shifted)
    return x


def _without(x: Any, axis: int, first: int, last: int) -> Any:
    """`x` without so many of its first and last elements along `axis`."""
    return x[(slice(None),) * axis + (slice(first, -last or None),)]
