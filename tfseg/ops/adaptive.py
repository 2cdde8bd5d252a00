"""Adaptive average pooling: a fixed number of bins for feature maps of any size."""

from keras import ops

from tfseg.typing import Tensor

Pair = tuple[int, int]


def adaptive_average_pool(x: Tensor, output_size: Pair) -> Tensor:
    """Averages each feature map into `output_size[0]` by `output_size[1]` bins.

    Bin `i` of `n` along an axis of length `length` covers the positions from `floor(i length / n)` up to, but not
    including, `ceil((i + 1) length / n)`. Bins overlap where `n` does not divide the length, and repeat positions where
    there are more bins than positions. This is the rule of PyTorch's `AdaptiveAvgPool2d`. Sizes may be unknown until
    the graph runs. The mean is computed in float32 and cast to the type of `x`.

    Example:

    >>> import numpy as np
    >>> np.ravel(adaptive_average_pool(np.arange(5.0).reshape(1, 1, 5, 1), (1, 2))).tolist()
    [1.0, 3.0]

    Args:
        x: Floating-point tensor `[batch, height, width, channels]`.
        output_size: Pair of integers, number of rows and columns of the output.

    Returns:
        Tensor `[batch, *output_size, channels]`.
    """
    _, height, width, channels = ops.shape(x)
    rows, columns = (_bin_weights(*each) for each in zip((height, width), output_size, strict=True))
    pooled = ops.matmul(columns, ops.cast(x, "float32"))  # [batch, height, columns, channels]
    flat = ops.reshape(pooled, (-1, height, output_size[1] * channels))
    return ops.cast(ops.reshape(ops.matmul(rows, flat), (-1, *output_size, channels)), x.dtype)


def _bin_weights(length: int | Tensor, output_size: int) -> Tensor:
    """Returns the weight of each position in each bin, float32 `[bins, length]`."""
    index, position = ops.arange(output_size, dtype="int32")[:, None], ops.arange(length, dtype="int32")[None]
    begin, end = index * length // output_size, ((index + 1) * length + output_size - 1) // output_size
    inside = ops.logical_and(position >= begin, position < end)
    return ops.cast(inside, "float32") / ops.cast(end - begin, "float32")
