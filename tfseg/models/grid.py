"""The sizes that a network sees: continued images, on which its positions always lie alike.

With `same` padding and a stride of 2, TensorFlow pads by the parity of the size, so that the positions of a deep map
move against the image and against finer maps when the image grows by a pixel. On sizes of one remainder, modulo the
output stride, they do not.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

import keras

from tfseg.layers import PadToGrid

MEAN_COLOR = (122.675, 116.669, 104.008)
"""Red, green and blue of the mean over ImageNet, by which DeepLab continues images."""
MIDDLE = 127.5
"""What images of other than three channels are continued by: zero once they are normalized."""


def multiple(output_stride: int, scales: Sequence[float]) -> int:
    """What the sizes are a multiple of, beside the remainder, for positions to lie on both corners at all `scales`.

    >>> multiple(8, (1.0, 0.75, 0.5))
    32
    """
    return output_stride * lcm(*(Fraction(scale).limit_denominator(100).denominator for scale in scales))


def padded_to_grid(image: keras.KerasTensor, step: int, remainder: int | None) -> keras.KerasTensor:
    """The image, continued in the mean color below and to the right to the next `step * k + remainder` pixels."""
    if remainder is None or step == 1:
        return image
    value = MEAN_COLOR if image.shape[-1] == len(MEAN_COLOR) else MIDDLE
    return PadToGrid(step, remainder, value, dtype="float32", name="grid")(image)
