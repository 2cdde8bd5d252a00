"""Caffe's pooling layers."""

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.layers.arguments import pair
from tfseg.ops.geometry import caffe_pool_size
from tfseg.ops.pool import caffe_average_pool, caffe_max_pool
from tfseg.serialization import serializable

Sizes = int | Sequence[int]


class _CaffePooling2D(keras.layers.Layer):
    """What the two have in common: the arguments and the size of the output."""

    def __init__(self, pool_size: Sizes = 2, strides: Sizes | None = None, padding: Sizes = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_size = pair("pool_size", pool_size)
        self.strides = self.pool_size if strides is None else pair("strides", strides)
        self.padding = pair("padding", padding, least=0)
        for size, stride, border in zip(self.pool_size, self.strides, self.padding, strict=True):
            if stride > size or border >= size:
                raise ValueError(
                    "`strides` must not be greater than `pool_size`, and `padding` must be less, so that every window "
                    f"sees the image. Received: pool_size={self.pool_size}, strides={self.strides}, "
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
    """Max pooling whose output size rounds up, as in Caffe.

    `out = ceil((n + 2 padding - pool_size) / strides) + 1`; with padding, a window that would start beyond the image
    and its leading padding is left out. Padding never wins. `padding="same"` of `keras.layers.MaxPooling2D` is equal
    for `pool_size=2, strides=2`, but not for `pool_size=3, strides=2` (AlexNet, GoogLeNet).

    Example:

    >>> import numpy as np
    >>> x = np.arange(5.0).reshape(1, 1, 5, 1)
    >>> np.ravel(CaffeMaxPooling2D(pool_size=(1, 2), strides=(1, 2))(x)).tolist()
    [1.0, 3.0, 4.0]

    Args:
        pool_size: height and width of a window.
        strides: rows and columns from one window to the next; `pool_size` by default.
        padding: rows added above and below, columns added left and right.

    Call arguments:
        x: a tensor.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, pooled_height, pooled_width, channels]`.

    Raises:
        ValueError: sizes that are no positive integers, strides greater than the window, or padding as great.

    Reference:
        `src/caffe/layers/pooling_layer.cpp` of Caffe.
    """

    def call(self, x: Any) -> Any:
        return caffe_max_pool(x, self.pool_size, self.strides, self.padding)


@serializable
class CaffeAveragePooling2D(_CaffePooling2D):
    """Average pooling whose output size rounds up and whose padding counts, as in Caffe.

    The zeros of the padding are averaged over like pixels; what a window covers beyond the padding, because the size
    was rounded up, is not. (`keras.layers.AveragePooling2D` with `padding="same"` leaves padding out.) DeepLab's
    `pool5a` needs it.

    Example:

    >>> import numpy as np
    >>> x = np.ones((1, 1, 3, 1))
    >>> np.ravel(CaffeAveragePooling2D(pool_size=(1, 2), strides=(1, 2), padding=(0, 1))(x)).tolist()
    [0.5, 1.0]

    Args:
        pool_size: height and width of a window.
        strides: rows and columns from one window to the next; `pool_size` by default.
        padding: rows of zeros added above and below, columns added left and right.

    Call arguments:
        x: a tensor.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, pooled_height, pooled_width, channels]`.

    Raises:
        ValueError: sizes that are no positive integers, strides greater than the window, or padding as great.

    Reference:
        `src/caffe/layers/pooling_layer.cpp` of Caffe.
    """

    def call(self, x: Any) -> Any:
        return caffe_average_pool(x, self.pool_size, self.strides, self.padding)
