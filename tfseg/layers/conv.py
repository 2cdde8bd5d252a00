"""Atrous convolution.

There is no depthwise form here: `keras.layers.DepthwiseConv2D(dilation_rate=…)` trains faster than any direct form that
TensorFlow has, and becomes one `DEPTHWISE_CONV_2D` in a TFLite file of static size (from TensorFlow 2.21 on).
"""

from typing import Any

import keras

from tfseg.ops.convolution import atrous_conv


@keras.saving.register_keras_serializable(package="tfseg")
class AtrousConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, computed in one operation where the kernel has holes.

    The arguments, the weights (`get_weights`, `set_weights`) and the numbers are those of `keras.layers.Conv2D`; only
    `.weights.h5` files tell the two apart, since they list layers by class. With `dilation_rate` above 1, Keras
    rearranges the input around an ordinary convolution (`SpaceToBatchND`); this layer asks TensorFlow for the dilated
    convolution itself, which trains up to four times as fast on CPUs at rates of 12 and more, and is one `CONV_2D` in
    a TFLite file at any size. Where TensorFlow cannot train that (CPUs without oneDNN), with groups, with
    `channels_first` and on other backends it does what Keras does.

    Example:

    >>> import numpy as np
    >>> x = np.zeros((1, 65, 65, 8))
    >>> tuple(AtrousConv2D(filters=4, kernel_size=3, dilation_rate=12, padding="same")(x).shape)
    (1, 65, 65, 4)

    Args:
        *args: as `keras.layers.Conv2D`.
        **kwargs: as `keras.layers.Conv2D`.

    Call arguments:
        inputs: a tensor.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, new_height, new_width, filters]`.

    Reference:
        Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
        Connected CRFs", PAMI 2018, section 3.1.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        if max(self.dilation_rate) == 1 or self.groups > 1 or self.data_format != "channels_last":
            return super().convolution_op(inputs, kernel)
        return atrous_conv(inputs, kernel, self.dilation_rate, self.padding)
