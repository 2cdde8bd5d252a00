"""Batch normalization of training as a single operation."""

import keras

from tfseg.ops.runtime import in_xla
from tfseg.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

DTYPES = ("float16", "bfloat16", "float32")


def is_fused(x: Tensor, axis: int) -> bool:
    """Returns whether `fused_batch_norm` computes the batch normalization of `x`.

    It requires TensorFlow, four axes with the channels last, and at most 32 bits. It is not for XLA, which decomposes
    the operation and computes the variance as `E[x²] - E[x]²`. Rounding can make this difference negative, and the
    output NaN, in a channel with small variance.

    Args:
        x: Any tensor.
        axis: Axis of the channels.
    """
    if keras.backend.backend() != "tensorflow" or keras.backend.standardize_dtype(x.dtype) not in DTYPES:
        return False
    return len(x.shape) == 4 and axis in (-1, 3) and not in_xla()


def fused_batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalizes each channel of `x` by the mean and the variance of the batch.

    Args:
        x: float32 tensor `[batch, height, width, channels]`.
        gamma: float32 tensor `[channels]`, scale of the normalized values.
        beta: float32 tensor `[channels]`, offset of the normalized values.
        epsilon: Small float added to the variance.

    Returns:
        A tuple of the output `[batch, height, width, channels]`, and mean and variance of the batch `[channels]`. The
        variance divides by the number of values, like that of `keras.ops.moments`. Mean and variance have no gradient.
    """
    y, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.size(x, tf.int64) // tf.size(gamma, tf.int64), tf.float32)
    variance = tf.math.multiply_no_nan(unbiased, (count - 1.0) / count)  # 0 for a single value, if unbiased is NaN too
    return y, mean, variance
