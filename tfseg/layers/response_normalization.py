"""Local response normalization of AlexNet and GoogLeNet."""

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.ops.response_normalization import local_response_normalization
from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class LocalResponseNormalization(keras.layers.Layer):
    """Local response normalization across channels, as in Caffe.

    Computes `y = x / (bias + alpha / n * sum of x²) ** beta` with the sum over `n = 2 depth_radius + 1` neighboring
    channels at the same position; channels beyond the first and the last count as zeros. The defaults are those of
    AlexNet and GoogLeNet in Caffe. The computation runs in float32 under every precision policy, because squares of
    activations overflow float16.

    `tf.nn.local_response_normalization` does not divide `alpha` by `n`.

    Example:

    >>> import numpy as np
    >>> x = np.full((1, 1, 1, 5), 100.0)
    >>> [f"{value:.2f}" for value in np.ravel(LocalResponseNormalization()(x))]
    ['70.29', '64.35', '59.46', '64.35', '70.29']

    Args:
        depth_radius: Integer, number of neighboring channels on each side; 2 corresponds to Caffe's `local_size` 5.
        alpha: Float, factor of the mean square.
        beta: Float, exponent.
        bias: Float, added to the scaled mean square; Caffe's `k`.

    Call arguments:
        x: Input feature map.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If `depth_radius` is not an integer of at least 0.

    Reference:
        Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012,
        section 3.3; `src/caffe/layers/lrn_layer.cpp` of Caffe.
    """

    def __init__(
        self, depth_radius: int = 2, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(depth_radius, int) or depth_radius < 0:
            raise ValueError(
                f"`depth_radius` must be an integer of at least 0. Received: depth_radius={depth_radius!r}"
            )
        self.depth_radius, self.alpha, self.beta, self.bias = depth_radius, alpha, beta, bias

    def call(self, x: Tensor) -> Tensor:
        return local_response_normalization(x, self.depth_radius, self.alpha, self.beta, self.bias)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        own = {"depth_radius": self.depth_radius, "alpha": self.alpha, "beta": self.beta, "bias": self.bias}
        return {**super().get_config(), **own}
