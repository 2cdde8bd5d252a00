"""3x3 max pooling with stride 2 or 1, as in AlexNet and GoogLeNet."""

import keras

from tfseg.layers import AtrousMaxPooling2D


def max_pool_stride_2(x: keras.KerasTensor, name: str, step: int, rate: int) -> keras.KerasTensor:
    """Applies 3x3 max pooling to the output of a ReLU, with stride 2, or at every position if `step` is 1.

    The first window is centered on pixel 0 for every size, whereas `same` centers it on pixel 0 or 1, depending on the
    parity of the size. Zero padding does not change the maximum of non-negative values.
    """
    x = keras.layers.ZeroPadding2D(1 if step == 2 else 0, name=f"{name}_pad")(x)  # the same layers at any stride
    return keras.layers.MaxPooling2D(3, 2, name=name)(x) if step == 2 else AtrousMaxPooling2D(3, rate, name=name)(x)


def max_pool_stride_1(x: keras.KerasTensor, name: str, rate: int) -> keras.KerasTensor:
    """Applies 3x3 max pooling with stride 1 and dilation rate `rate`."""
    pool = keras.layers.MaxPooling2D(3, 1, "same", name=name) if rate == 1 else AtrousMaxPooling2D(3, rate, name=name)
    return pool(x)
