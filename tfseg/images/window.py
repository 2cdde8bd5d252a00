"""Decoding of a window of an image file inside the TensorFlow graph."""

from collections.abc import Callable

import tensorflow as tf

from tfseg.images import exif
from tfseg.images.decode import JPEG, Decoded, decode_image
from tfseg.images.native import decode_native

_MARGIN = 2
_END = b"\xff\xd9"
"""Last bytes of a complete JPEG."""

Whole = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""Image, its size, and a problem."""


def decode_window(
    data: tf.Tensor, window: Callable[[tf.Tensor], tf.Tensor], channels: int = 3, *, native: bool = False
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decodes the window of an image file that a function of the size of the image chooses.

    Of an upright JPEG, only the window is decoded, after its size has been read from the header. Other files are
    decoded as a whole. The pixels are the same.

    >>> data = tf.io.encode_png(tf.zeros([4, 6, 3], tf.uint8))
    >>> pixels, size, window, problem = decode_window(data, lambda size: tf.concat([[1, 2], size - 3], 0))
    >>> tuple(pixels.shape), size.numpy().tolist(), window.numpy().tolist()
    ((1, 3, 3), [4, 6], [1, 2, 1, 3])

    Args:
        data: Content of the file, a string scalar.
        window: Function from height and width, int32 `[2]`, to top, left, height and width of the window.
        channels: Integer, number of channels of the image.
        native: Boolean, whether to decode like `decode_native` instead of `decode_image`.

    Returns:
        Pixels of the window, size of the image, the window, and a problem, as in `decode_image`.

    Raises:
        tf.errors.InvalidArgumentError: If the file is corrupt. A JPEG may be corrupt outside the window.
    """
    decode, dtype = (decode_native, tf.float32) if native else (decode_image, tf.uint8)
    whole = _whole(data, channels, decode)
    if channels not in (1, 3):  # a JPEG is not decoded to this number of channels
        image, size, problem = whole()
        sides = window(size)
        return tf.ensure_shape(cut(image, sides), [None, None, channels]), size, sides, problem
    partly = _is_upright_jpeg(data)
    image, size, problem = tf.cond(partly, _header(data, channels, dtype), whole)
    sides = window(size)
    pixels = tf.cond(partly, lambda: tf.cast(_jpeg(data, sides, size[1], channels), dtype), lambda: cut(image, sides))
    return tf.ensure_shape(pixels, [None, None, channels]), size, sides, problem


def cut(values: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Cuts a window (top, left, height, width) out of `[height, width]` or `[height, width, channels]`."""
    return tf.strided_slice(values, window[:2], window[:2] + window[2:])


def _header(data: tf.Tensor, channels: int, dtype: tf.DType) -> Callable[[], Whole]:
    return lambda: (tf.zeros([0, 0, channels], dtype), tf.io.extract_jpeg_shape(data)[:2], tf.constant(""))


def _whole(data: tf.Tensor, channels: int, decode: Callable[[tf.Tensor, int], Decoded]) -> Callable[[], Whole]:
    def decoded() -> Whole:
        image, problem = decode(data, channels)
        return image, tf.shape(image)[:2], problem

    return decoded


def _jpeg(data: tf.Tensor, sides: tf.Tensor, width: tf.Tensor, channels: int) -> tf.Tensor:
    """Decodes the window with a margin, since the decoder interpolates subsampled colors between neighboring pixels."""
    left = tf.maximum(sides[1] - _MARGIN, 0)
    right = tf.minimum(sides[1] + sides[3] + _MARGIN, width)
    wide = tf.stack([sides[0], left, sides[2], right - left])
    pixels = tf.io.decode_and_crop_jpeg(data, wide, channels, dct_method="INTEGER_ACCURATE")
    return pixels[:, sides[1] - left :][:, : sides[3]]


def _is_upright_jpeg(data: tf.Tensor) -> tf.Tensor:
    """Returns whether the file is a complete JPEG without rotation.

    A truncated file is decoded as a whole, so that it is reported even if the window is not affected.
    """
    length = tf.strings.length(data)
    complete = tf.equal(tf.strings.substr(data, tf.maximum(length - len(_END), 0), len(_END)), _END)
    jpeg = complete & tf.equal(tf.strings.substr(data, 0, len(JPEG)), JPEG)
    return tf.cond(jpeg, lambda: tf.equal(exif.orientation(data), 1), lambda: False)
