"""Atrous convolution, full and depthwise separable, with the padding conventions of TensorFlow and Caffe.

The depthwise part of a separable convolution is the dilated depthwise convolution of Keras. It trains faster than any
single operation that TensorFlow has for depthwise atrous convolution, and becomes one `DEPTHWISE_CONV_2D` in a TFLite
file with static input size (from TensorFlow 2.21 on).
"""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from tfseg.layers.arguments import extends, pair
from tfseg.ops.convolution import atrous_conv
from tfseg.ops.geometry import conv_size
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Sizes = int | Sequence[int]
Padding = Literal["valid", "same"] | int | Sequence[int]
Shape = Sequence[int | None]


@serializable
class AtrousConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with atrous convolution as a single operation and with optional integer padding.

    The arguments, the weights (`get_weights`, `set_weights`) and the outputs are those of `keras.layers.Conv2D`. Only
    `.weights.h5` files are not interchangeable, because they index layers by class. For a `dilation_rate` above 1,
    Keras wraps an ordinary convolution in `SpaceToBatchND` and `BatchToSpaceND`. This layer calls the dilated
    convolution of TensorFlow instead, which trains up to four times as fast on CPUs at rates of 12 and more, and
    becomes one `CONV_2D` in TFLite for any input size. It falls back to the implementation of Keras where TensorFlow
    cannot train a dilated convolution (CPUs without oneDNN), with `groups`, with `channels_first`, and on other
    backends.

    `padding=p` adds `p` zeros on both sides, as in Caffe and PyTorch. The output size is
    `floor((n + 2 p - rate (kernel_size - 1) - 1) / strides) + 1`. With strides, this samples other pixels than `"same"`
    at some sizes, because `"same"` adds the larger half of its zeros at the bottom and right.

    Example:

    >>> import numpy as np
    >>> x = np.zeros((1, 65, 65, 8))
    >>> tuple(AtrousConv2D(filters=4, kernel_size=3, dilation_rate=12, padding="same")(x).shape)
    (1, 65, 65, 4)
    >>> tuple(AtrousConv2D(filters=4, kernel_size=7, strides=2, padding=100)(x).shape)
    (1, 130, 130, 4)

    Args:
        filters: Integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the kernel.
        strides: Integer or pair of integers, strides of the convolution. They must be 1 if `dilation_rate` is above 1.
        padding: `"valid"`, `"same"`, or an integer or pair of integers, number of zero rows and columns on each side.
        dilation_rate: Integer or pair of integers, spacing between the taps of the kernel.
        **kwargs: Further arguments of `keras.layers.Conv2D`: `data_format`, `groups`, `activation`, `use_bias`,
            initializers, regularizers and constraints of `kernel` and `bias`, and the base layer arguments.

    Call arguments:
        inputs: Input feature map.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, new_height, new_width, filters]`.

    Raises:
        ValueError: If Keras rejects an argument, if `padding` is neither a string nor integers of at least 0, or if the
            padded input is smaller than the kernel.

    Reference:
        Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
        Connected CRFs", PAMI 2018, section 3.1.
    """

    @extends(keras.layers.Conv2D)
    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = (1, 1),
        padding: Padding = "valid",
        *,
        dilation_rate: Sizes = (1, 1),
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, kernel_size, strides, _keras_padding(padding), dilation_rate=dilation_rate, **kwargs)
        self.padding: Any = _explicit_padding(padding) or self.padding

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        x, padding = _padded(self, inputs)
        if max(self.dilation_rate) > 1 and self.groups == 1 and self.data_format == "channels_last":
            return atrous_conv(x, kernel, self.dilation_rate, padding)
        options = {"dilation_rate": self.dilation_rate, "data_format": self.data_format}
        return ops.conv(x, kernel, strides=list(self.strides), padding=padding, **options)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return (
            _output_shape(self, input_shape)
            if self.padding not in PADDING_MODES
            else super().compute_output_shape(input_shape)
        )


@serializable
class AtrousSeparableConv2D(keras.layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D` with optional integer padding.

    A depthwise atrous convolution is followed by a pointwise (1x1) convolution. A 3x3 convolution from 256 to 256
    channels has 590,080 weights, a separable one 68,096. DeepLab v3+ uses separable convolutions in ASPP and
    decoder. The arguments, the weights (`get_weights`, `set_weights`) and the outputs are those of
    `keras.layers.SeparableConv2D`. `padding=p` adds `p` zeros on both sides, as in `AtrousConv2D`.

    Example:

    >>> import numpy as np
    >>> conv = AtrousSeparableConv2D(filters=256, kernel_size=3, dilation_rate=6, padding=6)
    >>> tuple(conv(np.zeros((1, 33, 33, 256))).shape), conv.count_params()
    ((1, 33, 33, 256), 68096)

    Args:
        filters: Integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the kernel.
        strides: Integer or pair of integers, strides of the convolution.
        padding: `"valid"`, `"same"`, or an integer or pair of integers, number of zero rows and columns on each side.
        dilation_rate: Integer or pair of integers, spacing between the taps of the kernel.
        **kwargs: Further arguments of `keras.layers.SeparableConv2D`: `data_format`, `depth_multiplier`, `activation`,
            `use_bias`, initializers, regularizers and constraints of `depthwise`, `pointwise` and `bias`, and the base
            layer arguments.

    Call arguments:
        inputs: Input feature map.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, new_height, new_width, filters]`.

    Raises:
        ValueError: If Keras rejects an argument, if `padding` is neither a string nor integers of at least 0, or if the
            padded input is smaller than the kernel.

    Reference:
        Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018,
        section 3.1.
    """

    @extends(keras.layers.SeparableConv2D)
    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = (1, 1),
        padding: Padding = "valid",
        *,
        dilation_rate: Sizes = (1, 1),
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, kernel_size, strides, _keras_padding(padding), dilation_rate=dilation_rate, **kwargs)
        self.padding: Any = _explicit_padding(padding) or self.padding

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # raises if the kernel exceeds the input; Keras 3.13 does not
        super().build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        x, padding = _padded(self, inputs)
        kernels = (self.depthwise_kernel, self.pointwise_kernel)
        options = {"dilation_rate": self.dilation_rate, "data_format": self.data_format}
        x = ops.separable_conv(x, *kernels, strides=self.strides, padding=padding, **options)
        if self.use_bias:
            x = x + ops.reshape(self.bias, (1, -1, 1, 1) if self.data_format == "channels_first" else (1, 1, 1, -1))
        return x if self.activation is None else self.activation(x)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return (
            _output_shape(self, input_shape)
            if self.padding not in PADDING_MODES
            else super().compute_output_shape(input_shape)
        )


PADDING_MODES = ("valid", "same")
"""Padding modes of Keras."""


def _keras_padding(padding: Padding) -> str:
    """Returns the padding for Keras's constructor, which takes no integers."""
    return padding if isinstance(padding, str) else "valid"


def _explicit_padding(padding: Padding) -> tuple[int, int] | None:
    """Returns the padding as (rows, columns), or `None` for a padding mode of Keras."""
    return None if isinstance(padding, str) else pair("padding", padding, least=0)


def _padded(layer: Any, x: Tensor) -> tuple[Tensor, str]:
    """Pads the input of `layer` explicitly where needed. Returns it and the padding mode for Keras."""
    if layer.padding in PADDING_MODES:
        return x, layer.padding
    windows = zip(layer.kernel_size, layer.dilation_rate, layer.strides, layer.padding, strict=True)
    if all(2 * zeros == rate * (size - 1) and stride == 1 for size, rate, stride, zeros in windows):
        return x, "same"  # equivalent, without a separate padding operation
    sides = [(zeros, zeros) for zeros in layer.padding]
    borders = [(0, 0), (0, 0), *sides] if layer.data_format == "channels_first" else [(0, 0), *sides, (0, 0)]
    return ops.pad(x, borders), "valid"


def _output_shape(layer: Any, input_shape: Shape) -> tuple[int | None, ...]:
    """Computes the output shape of a layer with integer padding."""
    first = layer.data_format == "channels_first"
    sides = input_shape[2:4] if first else input_shape[1:3]
    windows = zip(sides, layer.kernel_size, layer.strides, layer.padding, layer.dilation_rate, strict=True)
    sizes = [None if side is None else conv_size(side, *window) for side, *window in windows]
    if any(size is not None and size < 1 for size in sizes):
        raise ValueError(
            "Expected a padded input that is at least as large as the dilated kernel. "
            f"Received: input_shape={tuple(input_shape)}, kernel_size={layer.kernel_size}, "
            f"dilation_rate={layer.dilation_rate}, padding={layer.padding}"
        )
    return (input_shape[0], layer.filters, *sizes) if first else (input_shape[0], *sizes, layer.filters)
