"""Padding of images to the grid, on which the positions of features do not depend on the image size.

With `same` padding and a stride of 2, TensorFlow's padding depends on the parity of the size. The positions of a deep
feature map then shift against the image and against finer feature maps when the image grows by one pixel. They do not
shift between sizes with the same remainder modulo the output stride.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

import keras

from tfseg.layers import PadToGrid

MEAN_COLOR = (122.675, 116.669, 104.008)
"""Red, green and blue of the ImageNet mean, with which DeepLab pads images."""
MIDDLE = 127.5
"""Padding value of images with other than three channels; zero after normalization."""


def multiple(output_stride: int, scales: Sequence[float]) -> int:
    """Returns the `multiple` of `PadToGrid` for a network at several image scales.

    At image sizes `multiple * k + 1`, the corners of feature map and image are aligned at all `scales`.

    >>> multiple(8, (1.0, 0.75, 0.5))
    32
    """
    return output_stride * lcm(*(Fraction(scale).limit_denominator(100).denominator for scale in scales))


def padded_to_grid(image: keras.KerasTensor, step: int, remainder: int | None) -> keras.KerasTensor:
    """Pads the image with the mean color below and to the right to the next `step * k + remainder` pixels."""
    if remainder is None or step == 1:
        return image
    value = MEAN_COLOR if image.shape[-1] == len(MEAN_COLOR) else MIDDLE
    return PadToGrid(step, remainder, value, dtype="float32", name="grid")(image)
