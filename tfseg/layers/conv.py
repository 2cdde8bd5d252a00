"""Atrous convolution, full and depthwise-separable, with the paddings of TensorFlow and of Caffe.

The depthwise half of a separable convolution has no direct form here: what `keras.layers.DepthwiseConv2D` does with a
`dilation_rate` trains faster than any direct form that TensorFlow has, and becomes one `DEPTHWISE_CONV_2D` in a TFLite
file of static size (from TensorFlow 2.21 on).
"""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from tfseg.layers.arguments import extends, pair
from tfseg.ops.convolution import atrous_conv
from tfseg.ops.geometry import conv_size
from tfseg.serialization import serializable

Sizes = int | Sequence[int]
Padding = Literal["valid", "same"] | int | Sequence[int]
Shape = Sequence[int | None]


@serializable
class AtrousConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, computed in one operation where the kernel has holes, with Caffe's padding too.

    The arguments, the weights (`get_weights`, `set_weights`) and the numbers are those of `keras.layers.Conv2D`; only
    `.weights.h5` files tell the two apart, since they list layers by class. With `dilation_rate` above 1, Keras
    rearranges the input around an ordinary convolution (`SpaceToBatchND`); this layer asks TensorFlow for the dilated
    convolution itself, which trains up to four times as fast on CPUs at rates of 12 and more, and is one `CONV_2D` in
    a TFLite file at any size. Where TensorFlow cannot train that (CPUs without oneDNN), with groups, with
    `channels_first` and on other backends it does what Keras does.

    `padding=p` puts `p` zeros on either side, as Caffe and PyTorch do: the output has
    `floor((n + 2 p - rate (kernel_size - 1) - 1) / strides) + 1` places. With strides this samples other pixels than
    `"same"` does at some sizes, because `"same"` puts the greater half of its zeros behind.

    Example:

    >>> import numpy as np
    >>> x = np.zeros((1, 65, 65, 8))
    >>> tuple(AtrousConv2D(filters=4, kernel_size=3, dilation_rate=12, padding="same")(x).shape)
    (1, 65, 65, 4)
    >>> tuple(AtrousConv2D(filters=4, kernel_size=7, strides=2, padding=100)(x).shape)
    (1, 130, 130, 4)

    Args:
        filters: channels of the output.
        kernel_size: height and width of the kernel.
        strides: rows and columns from one place to the next; with a `dilation_rate` above 1 they must be 1.
        padding: `"valid"`, `"same"`, or rows and columns of zeros, one number for both or two.
        dilation_rate: rows and columns from one tap of the kernel to the next.
        **kwargs: as of `keras.layers.Conv2D`: `data_format`, `groups`, `activation`, `use_bias`, initializers,
            regularizers and constraints of `kernel` and `bias`, and what every layer takes.

    Call arguments:
        inputs: a tensor.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, new_height, new_width, filters]`.

    Raises:
        ValueError: what Keras refuses, a padding that is neither a word nor numbers of at least 0, or an input that is
            smaller than the kernel.

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
        super().__init__(filters, kernel_size, strides, _word(padding), dilation_rate=dilation_rate, **kwargs)
        self.padding: Any = _numbers(padding) or self.padding

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        x, word = _padded(self, inputs)
        if max(self.dilation_rate) > 1 and self.groups == 1 and self.data_format == "channels_last":
            return atrous_conv(x, kernel, self.dilation_rate, word)
        options = {"dilation_rate": self.dilation_rate, "data_format": self.data_format}
        return ops.conv(x, kernel, strides=list(self.strides), padding=word, **options)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return _shape(self, input_shape) if self.padding not in WORDS else super().compute_output_shape(input_shape)


@serializable
class AtrousSeparableConv2D(keras.layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D` with Caffe's padding too: a dilated convolution of each channel, then a 1x1 one.

    A 3x3 convolution of 256 to 256 channels has 590,080 weights; separated it has 68,096. DeepLab v3+ uses it
    throughout. The arguments, the weights (`get_weights`, `set_weights`) and the numbers are those of
    `keras.layers.SeparableConv2D`. `padding=p` puts `p` zeros on either side, as in `AtrousConv2D`.

    Example:

    >>> import numpy as np
    >>> conv = AtrousSeparableConv2D(filters=256, kernel_size=3, dilation_rate=6, padding=6)
    >>> tuple(conv(np.zeros((1, 33, 33, 256))).shape), conv.count_params()
    ((1, 33, 33, 256), 68096)

    Args:
        filters: channels of the output.
        kernel_size: height and width of the kernel.
        strides: rows and columns from one place to the next.
        padding: `"valid"`, `"same"`, or rows and columns of zeros, one number for both or two.
        dilation_rate: rows and columns from one tap of the kernel to the next.
        **kwargs: as of `keras.layers.SeparableConv2D`: `data_format`,
            `depth_multiplier`, `activation`, `use_bias`, initializers, regularizers and constraints of `depthwise`,
            `pointwise` and `bias`, and what every layer takes.

    Call arguments:
        inputs: a tensor.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, new_height, new_width, filters]`.

    Raises:
        ValueError: what Keras refuses, a padding that is neither a word nor numbers of at least 0, or an input that is
            smaller than the kernel.

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
        super().__init__(filters, kernel_size, strides, _word(padding), dilation_rate=dilation_rate, **kwargs)
        self.padding: Any = _numbers(padding) or self.padding

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # refuses inputs that the kernel does not fit into; Keras 3.13 would not
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        x, word = _padded(self, inputs)
        kernels = (self.depthwise_kernel, self.pointwise_kernel)
        options = {"dilation_rate": self.dilation_rate, "data_format": self.data_format}
        x = ops.separable_conv(x, *kernels, strides=self.strides, padding=word, **options)
        if self.use_bias:
            x = x + ops.reshape(self.bias, (1, -1, 1, 1) if self.data_format == "channels_first" else (1, 1, 1, -1))
        return x if self.activation is None else self.activation(x)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return _shape(self, input_shape) if self.padding not in WORDS else super().compute_output_shape(input_shape)


WORDS = ("valid", "same")
"""What Keras calls its two paddings."""


def _word(padding: Padding) -> str:
    """What to tell Keras's constructor, which knows no numbers."""
    return padding if isinstance(padding, str) else "valid"


def _numbers(padding: Padding) -> tuple[int, int] | None:
    """The padding as rows and columns; None where it is a word."""
    return None if isinstance(padding, str) else pair("padding", padding, least=0)


def _padded(layer: Any, x: Any) -> tuple[Any, str]:
    """The layer's input with the zeros around it that Keras cannot put there, and how Keras is to pad the rest."""
    if layer.padding in WORDS:
        return x, layer.padding
    windows = zip(layer.kernel_size, layer.dilation_rate, layer.strides, layer.padding, strict=True)
    if all(2 * zeros == rate * (size - 1) and stride == 1 for size, rate, stride, zeros in windows):
        return x, "same"  # equal, and one operation less
    sides = [(zeros, zeros) for zeros in layer.padding]
    borders = [(0, 0), (0, 0), *sides] if layer.data_format == "channels_first" else [(0, 0), *sides, (0, 0)]
    return ops.pad(x, borders), "valid"


def _shape(layer: Any, input_shape: Shape) -> tuple[int | None, ...]:
    """The shape of the output of a layer whose padding is in numbers."""
    first = layer.data_format == "channels_first"
    sides = input_shape[2:4] if first else input_shape[1:3]
    windows = zip(sides, layer.kernel_size, layer.strides, layer.padding, layer.dilation_rate, strict=True)
    sizes = [None if side is None else conv_size(side, *window) for side, *window in windows]
    if any(size is not None and size < 1 for size in sizes):
        raise ValueError(
            "Expected an input that the kernel fits into, with the zeros around it. "
            f"Received: input_shape={tuple(input_shape)}, kernel_size={layer.kernel_size}, "
            f"dilation_rate={layer.dilation_rate}, padding={layer.padding}"
        )
    return (input_shape[0], layer.filters, *sizes) if first else (input_shape[0], *sizes, layer.filters)
