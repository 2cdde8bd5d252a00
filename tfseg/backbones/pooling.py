"""3x3 max pooling with strides of 2 and less, as AlexNet and GoogLeNet have it."""

import keras

from tfseg.layers import AtrousMaxPooling2D


def max_pool_stride_2(x: keras.KerasTensor, name: str, step: int, rate: int) -> keras.KerasTensor:
    """3x3 with stride 2 over what a ReLU gave, from pixel 0 on whatever the size; with step 1, every place of it.

    The padding's zeros never win there. (`same` begins at pixel 0 or 1, by the parity of the size.)
    """
    x = keras.layers.ZeroPadding2D(1 if step == 2 else 0, name=f"{name}_pad")(x)  # one list of layers for any stride
    return keras.layers.MaxPooling2D(3, 2, name=name)(x) if step == 2 else AtrousMaxPooling2D(3, rate, name=name)(x)


def max_pool_stride_1(x: keras.KerasTensor, name: str, rate: int) -> keras.KerasTensor:
    """3x3 with stride 1, over elements `rate` places apart."""
    pool = keras.layers.MaxPooling2D(3, 1, "same", name=name) if rate == 1 else AtrousMaxPooling2D(3, rate, name=name)
    return pool(x)
