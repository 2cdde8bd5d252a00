"""Local response normalization, as AlexNet and GoogLeNet have it."""

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.ops.response_normalization import local_response_normalization
from tfseg.serialization import serializable


@serializable
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each value by a power of the mean square over the channels around it, as Caffe's `LRN` does.

    `y = x / (bias + alpha / n * sum of x²) ** beta` over `n = 2 depth_radius + 1` neighboring channels of a place;
    channels beyond the first and the last count as zeros. The defaults are AlexNet's and GoogLeNet's. It is computed in
    float32 under every precision policy: squares of activations do not fit into a half.

    `tf.nn.local_response_normalization` does not divide `alpha` by `n`.

    Example:

    >>> import numpy as np
    >>> x = np.full((1, 1, 1, 5), 100.0)
    >>> [f"{value:.2f}" for value in np.ravel(LocalResponseNormalization()(x))]
    ['70.29', '64.35', '59.46', '64.35', '70.29']

    Args:
        depth_radius: how many channels on either side take part; 2 is Caffe's `local_size` 5.
        alpha: weight of the mean square.
        beta: the exponent.
        bias: what is added to the mean square; Caffe's `k`.

    Call arguments:
        x: a tensor.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        The same.

    Raises:
        ValueError: a radius that is no integer of at least 0.

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

    def call(self, x: Any) -> Any:
        return local_response_normalization(x, self.depth_radius, self.alpha, self.beta, self.bias)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        own = {"depth_radius": self.depth_radius, "alpha": self.alpha, "beta": self.beta, "bias": self.bias}
        return {**super().get_config(), **own}
