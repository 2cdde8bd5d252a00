"""Max pooling that remembers where each maximum was, and the way back.

TensorFlow's own operation for the pooling runs neither under XLA nor in TFLite. Here it is made of operations that do
and that every backend has, at about three times the time on a CPU (115 instead of 40 ms for 4 x 56 x 56 x 256 values,
where the 3x3 convolution before it takes 770 ms to train). Both are offered; they give the same. The way back is one
form, which runs everywhere.
"""

from typing import Any, Literal

import keras
from keras import ops

from tfseg.ops.geometry import deconv_size

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

Pair = tuple[int, int]
Padding = Literal["valid", "same"]


def max_pool_with_argmax(x: Any, pool_size: Pair, strides: Pair, padding: Padding = "valid") -> tuple[Any, Any]:
    """Maximum over windows, and its place.

    A place is the index `(row * width + column) * channels + channel` into the image, without the batch and without
    padding, as `tf.nn.max_pool_with_argmax` gives it. Of equal values the first counts. Places have no gradient.

    Args:
        x: `[batch, height, width, channels]`, floating.
        pool_size: height and width of a window.
        strides: rows and columns from one window to the next.
        padding: `"valid"` or `"same"`.

    Returns:
        The maxima `[batch, rows, columns, channels]` and their places, int32, of the same shape.
    """
    _, *sizes, channels = ops.shape(x)
    counts, borders = zip(*map(_windows, sizes, pool_size, strides, (padding,) * 2), strict=True)
    padded = ops.pad(x, [(0, 0), *borders, (0, 0)], constant_values=-float("inf"))
    spans = [(count - 1) * step + 1 for count, step in zip(counts, strides, strict=True)]
    taps = [
        padded[:, i : i + spans[0] : strides[0], j : j + spans[1] : strides[1]]
        for i in range(pool_size[0])
        for j in range(pool_size[1])
    ]
    best = _first_greatest(taps)
    row = _starts(counts[0], strides[0], borders[0][0])[:, None, None] + best // pool_size[1]
    column = _starts(counts[1], strides[1], borders[1][0])[:, None] + best % pool_size[1]
    return ops.max_pool(x, pool_size, strides, padding), (row * sizes[1] + column) * channels + ops.arange(channels)


def native_max_pool_with_argmax(x: Any, pool_size: Pair, strides: Pair, padding: Padding = "valid") -> tuple[Any, Any]:
    """As `max_pool_with_argmax`, by TensorFlow's own operation: for TensorFlow, outside of XLA and TFLite."""
    window = {"ksize": pool_size, "strides": strides, "padding": padding.upper()}
    values, argmax = tf.nn.max_pool_with_argmax(x, include_batch_in_index=False, **window)
    return values, ops.cast(argmax, "int32")


def max_unpool(updates: Any, argmax: Any, output_size: tuple[Any, Any]) -> Any:
    """Puts every value back where it came from, and zero everywhere else.

    Values that come from one place, out of windows that overlap, are added.

    Args:
        updates: `[batch, rows, columns, channels]`.
        argmax: integers of that shape: `(row * width + column) * channels + channel`. The channel is taken from where
            a value stands, not from here.
        output_size: height and width of the result: integers, or scalar integer tensors.

    Returns:
        `[batch, *output_size, channels]`.
    """
    height, width = output_size
    batch, _, _, channels = ops.shape(updates)
    plane = height * width * channels
    inside = ops.cast(argmax, "int32") // channels * channels + ops.arange(channels)
    flat = ops.reshape(inside + plane * ops.reshape(ops.arange(batch), (-1, 1, 1, 1)), (-1, 1))
    result = ops.scatter(flat, ops.reshape(updates, (-1,)), (batch * plane,))
    return ops.reshape(result, (-1, height, width, channels))


def unpooled_size(size: Any, pool_size: int, strides: int, padding: Padding) -> Any:
    """The size that a pooling would have come from if its windows had covered it exactly."""
    return size * strides if padding == "same" else deconv_size(size, pool_size, strides)


def _first_greatest(taps: list[Any]) -> Any:
    """Which of these tensors is greatest, for each element. (`argmax` over them all is slower.)"""
    greatest, which = taps[0], ops.zeros_like(taps[0], dtype="int32")
    for number, tap in enumerate(taps[1:], start=1):
        better = tap > greatest
        greatest, which = ops.where(better, tap, greatest), ops.where(better, number, which)
    return which


def _windows(size: Any, pool_size: int, strides: int, padding: Padding) -> tuple[Any, tuple[Any, Any]]:
    """How many windows fit, and how much TensorFlow pads before and after."""
    if padding == "valid":
        return (size - pool_size) // strides + 1, (0, 0)
    count = (size + strides - 1) // strides
    missing = (count - 1) * strides + pool_size - size
    missing = max(missing, 0) if isinstance(missing, int) else ops.maximum(missing, 0)
    return count, (missing // 2, missing - missing // 2)


def _starts(count: Any, strides: int, before: Any) -> Any:
    return ops.arange(count, dtype="int32") * strides - before
