"""Batch normalization that trains faster on TensorFlow."""

from typing import Any

import keras
from keras import ops

from tfseg.ops.batch_norm import fused_batch_norm, is_fused
from tfseg.ops.runtime import num_replicas
from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with the fused operation of TensorFlow in training.

    The arguments, the weights and the weight files are those of `keras.layers.BatchNormalization`. Outputs, gradients
    and moving statistics are equal up to rounding errors of float32. Keras runs many operations over the whole feature
    map, forward and backward; here `FusedBatchNormV3` and its gradient replace them.

    The implementation of Keras is used at inference and in a frozen layer, so that exports contain the same
    operations; and in training with XLA, with statistics of several replicas (`synchronized`), with a mask or `renorm`,
    for inputs that do not have four axes with the channels last, for float64, and on other backends.

    Example:

    >>> import numpy as np
    >>> x = np.array([1.0, 3.0], "float32").reshape(1, 1, 2, 1)
    >>> layer = BatchNormalization(epsilon=0.0, momentum=0.5)
    >>> np.ravel(layer(x, training=True)).tolist()
    [-1.0, 1.0]
    >>> float(layer.moving_mean[0]), float(layer.moving_variance[0])
    (1.0, 1.0)

    Args:
        **kwargs: Arguments of `keras.layers.BatchNormalization`: `axis`, `momentum`, `epsilon`, `center`, `scale`,
            initializers, regularizers and constraints of `beta` and `gamma`, initializers of the moving statistics,
            `synchronized`, and the base layer arguments.

    Call arguments:
        inputs: Feature map.
        training: Boolean, whether to normalize by the statistics of the batch.
        mask: Boolean tensor `[batch, height, width]` of the positions that the statistics include.

    Input shape:
        `[batch, height, width, channels]`, or any other shape that Keras accepts.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If Keras rejects an argument.

    Reference:
        Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
        Shift", ICML 2015, algorithm 1.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        if not training or not self.trainable or mask is not None or not self._is_fused(inputs):
            return super().call(inputs, training=training, mask=mask)
        shape = self.moving_mean.shape
        gamma = ops.cast(self.gamma, "float32") if self.scale else ops.ones(shape, "float32")
        beta = ops.cast(self.beta, "float32") if self.center else ops.zeros(shape, "float32")
        outputs, mean, variance = fused_batch_norm(ops.cast(inputs, "float32"), gamma, beta, self.epsilon)
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance)
        return ops.cast(outputs, self.compute_dtype)

    def _is_fused(self, inputs: Tensor) -> bool:
        if getattr(self, "renorm", False) or (self.synchronized and num_replicas() > 1):  # Keras 3.13 has no `renorm`
            return False
        return is_fused(inputs, self.axis)

    def _move(self, average: Any, measured: Tensor) -> None:
        """Updates a moving average with the value of the batch."""
        average.assign(ops.cast(average, "float32") * self.momentum + measured * (1.0 - self.momentum))
