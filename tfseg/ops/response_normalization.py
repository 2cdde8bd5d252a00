"""Local response normalization across channels, with Caffe's figures."""

from typing import Any

from keras import ops


def local_response_normalization(x: Any, radius: int, alpha: float, beta: float, bias: float) -> Any:
    """`x / (bias + alpha / n * sum of x² over n = 2 radius + 1 channels) ** beta`, computed in float32.

    Beyond the first and the last channel there are zeros, which count in `n`. `tf.nn.local_response_normalization` is
    the same with `alpha / n` as its `alpha`; unlike that, this exists for every backend.

    Args:
        x: `[batch, height, width, channels]`.
        radius: how many channels on either side take part.
        alpha: weight of the mean square.
        beta: the exponent.
        bias: what is added to the mean square.

    Returns:
        A tensor of the shape and type of `x`.
    """
    exact, size = ops.cast(x, "float32"), 2 * radius + 1
    squares = ops.pad(ops.square(exact), [(0, 0), (0, 0), (0, 0), (radius, radius)])
    channels = x.shape[-1]
    total = sum(squares[..., start : start + channels] for start in range(size))
    return ops.cast(exact * ops.power(bias + alpha / size * total, -beta), x.dtype)
