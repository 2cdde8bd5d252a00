"""Average pooling into a fixed number of bins, whatever the size of the map."""

from typing import Any

from keras import ops

Pair = tuple[int, int]


def adaptive_average_pool(x: Any, output_size: Pair) -> Any:
    """Mean over `bins[0]` by `bins[1]` parts of each map; sizes may be unknown until the graph runs.

    Part `i` of `n` along an axis of length `length` reaches from `floor(i length / n)` up to, and without,
    `ceil((i + 1) length / n)`: parts overlap where `n` does not divide the length, and repeat pixels where there are
    more parts than pixels. This is the rule of PyTorch's `AdaptiveAvgPool2d`. Computed in float32, and given back in
    the type of `x`.

    Example:

    >>> import numpy as np
    >>> np.ravel(adaptive_average_pool(np.arange(5.0).reshape(1, 1, 5, 1), (1, 2))).tolist()
    [1.0, 3.0]

    Args:
        x: `[batch, height, width, channels]`, floating.
        output_size: rows and columns of the result.

    Returns:
        `[batch, *bins, channels]`.
    """
    _, height, width, channels = ops.shape(x)
    rows, columns = (_shares(*each) for each in zip((height, width), output_size, strict=True))
    pooled = ops.matmul(columns, ops.cast(x, "float32"))  # [batch, height, columns, channels]
    flat = ops.reshape(pooled, (-1, height, output_size[1] * channels))
    return ops.cast(ops.reshape(ops.matmul(rows, flat), (-1, *output_size, channels)), x.dtype)


def _shares(length: Any, output_size: int) -> Any:
    """float32 `[bins, length]`: how much each pixel counts in each part."""
    part, pixel = ops.arange(output_size, dtype="int32")[:, None], ops.arange(length, dtype="int32")[None]
    begin, end = part * length // output_size, ((part + 1) * length + output_size - 1) // output_size
    inside = ops.logical_and(pixel >= begin, pixel < end)
    return ops.cast(inside, "float32") / ops.cast(end - begin, "float32")
