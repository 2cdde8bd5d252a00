"""Pooling layers with the output sizes and padding of Caffe."""

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.layers.arguments import pair
from tfseg.ops.geometry import caffe_pool_size
from tfseg.ops.pool import caffe_average_pool, caffe_max_pool
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Sizes = int | Sequence[int]


class _CaffePooling2D(keras.layers.Layer):
    """Base class of both pooling layers, with their arguments and output size."""

    def __init__(self, pool_size: Sizes = 2, strides: Sizes | None = None, padding: Sizes = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_size = pair("pool_size", pool_size)
        self.strides = self.pool_size if strides is None else pair("strides", strides)
        self.padding = pair("padding", padding, least=0)
        for size, stride, border in zip(self.pool_size, self.strides, self.padding, strict=True):
            if stride > size or border >= size:
                raise ValueError(
                    "`strides` must be at most `pool_size` and `padding` less than `pool_size`, so that every window "
                    f"overlaps the input. Received: pool_size={self.pool_size}, strides={self.strides}, "
                    f"padding={self.padding}"
                )

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        batch, *sides, channels = input_shape
        sizes = zip(sides, self.pool_size, self.strides, self.padding, strict=True)
        return batch, *(None if size is None else caffe_pool_size(size, *window) for size, *window in sizes), channels

    def get_config(self) -> dict[str, Any]:
        own = {"pool_size": self.pool_size, "strides": self.strides, "padding": self.padding}
        return {**super().get_config(), **own}


@serializable
class CaffeMaxPooling2D(_CaffePooling2D):
    """Max pooling whose output size is rounded up, as in Caffe.

    The output size is `ceil((n + 2 padding - pool_size) / strides) + 1`. With padding, a window that would start after
    the last row or column of the image is omitted. Padding is never the maximum. `padding="same"` of
    `keras.layers.MaxPooling2D` is equivalent for `pool_size=2, strides=2`, but not for `pool_size=3, strides=2`
    (AlexNet, GoogLeNet).

    Example:

    >>> import numpy as np
    >>> x = np.arange(5.0).reshape(1, 1, 5, 1)
    >>> np.ravel(CaffeMaxPooling2D(pool_size=(1, 2), strides=(1, 2))(x)).tolist()
    [1.0, 3.0, 4.0]

    Args:
        pool_size: Integer or pair of integers, height and width of the pooling window.
        strides: Integer or pair of integers, strides. If `None`, defaults to `pool_size`.
        padding: Integer or pair of integers, number of padding rows and columns on each side.

    Call arguments:
        x: Input feature map.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, pooled_height, pooled_width, channels]`.

    Raises:
        ValueError: If `pool_size` or `strides` are not positive integers, if `strides` is greater than `pool_size`, or
            if `padding` is not less than `pool_size`.

    Reference:
        `src/caffe/layers/pooling_layer.cpp` of Caffe.
    """

    def call(self, x: Tensor) -> Tensor:
        return caffe_max_pool(x, self.pool_size, self.strides, self.padding)


@serializable
class CaffeAveragePooling2D(_CaffePooling2D):
    """Average pooling whose output size is rounded up and whose averages include the padding, as in Caffe.

    Zero padding counts in the average. The part of a window beyond the padding, which exists because the size is
    rounded up, does not. (`keras.layers.AveragePooling2D` with `padding="same"` excludes the padding.) `pool5a` of
    DeepLab requires this layer.

    Example:

    >>> import numpy as np
    >>> x = np.ones((1, 1, 3, 1))
    >>> np.ravel(CaffeAveragePooling2D(pool_size=(1, 2), strides=(1, 2), padding=(0, 1))(x)).tolist()
    [0.5, 1.0]

    Args:
        pool_size: Integer or pair of integers, height and width of the pooling window.
        strides: Integer or pair of integers, strides. If `None`, defaults to `pool_size`.
        padding: Integer or pair of integers, number of zero rows and columns on each side.

    Call arguments:
        x: Input feature map.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, pooled_height, pooled_width, channels]`.

    Raises:
        ValueError: If `pool_size` or `strides` are not positive integers, if `strides` is greater than `pool_size`, or
            if `padding` is not less than `pool_size`.

    Reference:
        `src/caffe/layers/pooling_layer.cpp` of Caffe.
    """

    def call(self, x: Tensor) -> Tensor:
        return caffe_average_pool(x, self.pool_size, self.strides, self.padding)
