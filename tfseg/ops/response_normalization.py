"""Local response normalization across channels, with Caffe's parametrization."""

from keras import ops

from tfseg.typing import Tensor


def local_response_normalization(x: Tensor, radius: int, alpha: float, beta: float, bias: float) -> Tensor:
    """Normalizes each value by the mean square of the neighboring channels.

    `y = x / (bias + alpha / n * sum of x² over n = 2 radius + 1 channels) ** beta`, computed in float32. The channels
    are padded with zeros, which count in `n`. `tf.nn.local_response_normalization` gives the same result with
    `alpha / n` as its `alpha`. This function supports every backend.

    Args:
        x: Tensor `[batch, height, width, channels]`.
        radius: Number of neighboring channels on either side.
        alpha: Weight of the mean square.
        beta: Exponent.
        bias: Constant added to the weighted mean square.

    Returns:
        Tensor of the shape and type of `x`.
    """
    exact, size = ops.cast(x, "float32"), 2 * radius + 1
    squares = ops.pad(ops.square(exact), [(0, 0), (0, 0), (0, 0), (radius, radius)])
    channels = x.shape[-1]
    total = sum(squares[..., start : start + channels] for start in range(size))
    return ops.cast(exact * ops.power(bias + alpha / size * total, -beta), x.dtype)
