"""Contract of augmentation ops: random transformation of an image and its mask.

Each op is called as `op(image, mask, seed, view)` inside the TensorFlow graph and draws random numbers from its own
stateless `seed` only. Pixels from outside the image become `View.fill` in the image and the ignore label in the mask.
Ids of masks are never interpolated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import tensorflow as tf

from tfseg.labels import Labels

FILL = 115
"""Default value of padding pixels: approximately the mean of photographs, so near zero after normalization."""

Pair = tuple[tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class View:
    """Ignore label, crop size, fill value and labels, for augmentation ops.

    Args:
        ignore: Ignore label.
        crop: Height and width of the crop that follows, if any.
        fill: Value of padding pixels, for all channels or per channel.
        labels: Classes, for ops that select pixels by class name.
    """

    ignore: int
    crop: tuple[int, int] | None = None
    fill: tuple[int, ...] = (FILL,)
    labels: Labels | None = None


class AugmentSpec:
    """Base class of augmentation ops. A custom op needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)
    BEFORE_CROP: ClassVar[bool] = False
    """True for ops that are applied before the crop because they need pixels around it."""

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Returns the augmented image and mask, of the same dtypes.

        Args:
            image: Uint8 or float32 tensor of shape `[height, width, channels]`, 0 to 255.
            mask: Integer tensor of shape `[height, width]`.
            seed: Int32 tensor of shape `[2]`, seed for TensorFlow's stateless random functions, the only source of
                randomness.
            view: Ignore label, size of the crop, fill value and labels.
        """
        raise NotImplementedError

    def channel_problem(self, channels: int) -> str | None:
        """Returns a message if the op does not support images with this number of channels."""
        return None


class MixSpec:
    """Base class of augmentation ops that mix an example with others. Applied after the crop, to images of one size.

    A custom op needs `type`, `PARTNERS`, `probability` and `__call__`.
    """

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)
    BEFORE_CROP: ClassVar[bool] = False
    PARTNERS: ClassVar[int] = 1
    """Number of other examples that the op mixes in."""
    probability: float
    """Probability that the op is applied."""

    def __call__(self, pairs: Sequence[Pair], seed: tf.Tensor, view: View) -> Pair:
        """Returns the mixed image and mask, of the same shapes and dtypes.

        Args:
            pairs: Image and mask of the example, followed by those of its partners, all cropped to the same size.
            seed: Int32 tensor of shape `[2]`, seed for TensorFlow's stateless random functions.
            view: Ignore label, size of the crop, fill value and labels.
        """
        raise NotImplementedError


def like(pixels: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Converts float pixels to the dtype of `image`: clips to 0..255, and rounds to integers for uint8."""
    if image.dtype == tf.uint8:
        values = tf.raw_ops.QuantizeV2(  # clips, rounds and converts in one pass instead of four
            input=pixels, min_range=0.0, max_range=255.0, T=tf.quint8, round_mode="HALF_AWAY_FROM_ZERO"
        ).output
        return tf.bitcast(values, tf.uint8)
    return tf.clip_by_value(pixels, 0, 255)


def padded(image: tf.Tensor, paddings: Any, fill: tuple[int, ...]) -> tf.Tensor:
    """Pads an image like `tf.pad`, with `fill`."""
    values = tf.pad(without(image, fill), paddings, constant_values=padding_value(image.dtype))
    return with_fill(values, fill)


def padding_value(dtype: tf.DType) -> Any:
    """Returns the value to pad the result of `without` with."""
    return tf.constant(-1 if dtype.is_floating else 0, dtype)


def without(image: tf.Tensor, fill: tuple[int, ...]) -> tf.Tensor:
    """Prepares an image for padding by one value, since `fill` may have one per channel.

    From uint8 pixels, it subtracts `fill`, modulo 256, so that `with_fill` turns zeros into `fill`. Float pixels, of
    0 to 255, are not changed, as a sum would round them: negative values mark the padding.
    """
    return image if image.dtype.is_floating else image - tf.constant(fill, image.dtype)


def with_fill(image: tf.Tensor, fill: tuple[int, ...]) -> tf.Tensor:
    """Undoes `without`, and gives padding the value of `fill`."""
    values = tf.constant(fill, image.dtype)
    return tf.where(image < 0, values, image) if image.dtype.is_floating else image + values
