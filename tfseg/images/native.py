"""Decoding of images with more than 8 bits per value, without changing their values."""

from functools import lru_cache, partial
from typing import Any

import tensorflow as tf

from tfseg.images import npy, png
from tfseg.images.decode import BROKEN, DECODER_CHANNELS, Decoded, decode_image, is_supported, with_channels
from tfseg.images.values import DTYPES

DEEP = 16
"""Bits per channel of a PNG that `decode_image` does not read."""
IMAGE_FILES = f"JPEG, PNG, GIF, BMP or .npy (uint8; with `data.value_range` also {', '.join(DTYPES[1:])})"
"""Formats and dtypes of images, for error messages."""


def decode_native(data: tf.Tensor, channels: int = 3) -> Decoded:
    """Decodes an image file to its own values as float32 `[height, width, channels]`, and a problem.

    Besides the formats of `decode_image`, it reads PNG of 16 bits, and `.npy` arrays of int16, uint16, int32, float16,
    float32 and float64. Integers above 2^24 and float64 are rounded to float32. NaN is a problem, infinity is not.

    >>> image, problem = decode_native(tf.io.encode_png(tf.fill([4, 6, 1], tf.constant(1000, tf.uint16))), channels=1)
    >>> float(image[0, 0, 0])
    1000.0

    Args:
        data: Content of the file, a string scalar.
        channels: Integer, number of channels of the image.

    Raises:
        tf.errors.InvalidArgumentError: If the file is corrupt.
    """
    return _graph(channels)(data)


def dtype_of(data: bytes) -> str:
    """Returns the name of the dtype of the values in an image file that `decode_native` reads."""
    if data.startswith(npy.MAGIC):
        return npy.dtype_of(data)
    deep = data.startswith(png.SIGNATURE) and data[png.DEPTH] == DEEP
    return "uint16" if deep else "uint8"


def is_decodable(data: bytes) -> bool:
    """Returns whether the content is a complete image, with any number of channels and bits."""
    if not is_supported(data):
        return False
    try:
        tf.io.decode_png(data) if data.startswith(png.SIGNATURE) else decode_native(tf.constant(data))
    except BROKEN:
        return False
    return True


@lru_cache(maxsize=16)
def _graph(channels: int) -> Any:
    """Returns the decoder as one graph for all datasets and signatures, as in `decode_image`."""
    decode = partial(_decode, channels=channels)
    return tf.function(decode, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def _decode(data: tf.Tensor, channels: int) -> Decoded:
    is_array = tf.equal(tf.strings.substr(data, 0, len(npy.MAGIC)), npy.MAGIC)
    is_deep = png.is_png(data) & tf.equal(png.header(data)[0], DEEP)
    decoders = (_eight_bits, npy.decode_npy_values, _deep_png)
    branches = [partial(decode, data, channels) for decode in decoders]
    image, problem = tf.switch_case(tf.where(is_array, 1, tf.where(is_deep, 2, 0)), branches)
    return with_channels(image, problem, channels)


def _eight_bits(data: tf.Tensor, channels: int) -> Decoded:
    image, problem = decode_image(data, channels)
    return tf.cast(tf.ensure_shape(image, [None, None, None]), tf.float32), problem


def _deep_png(data: tf.Tensor, channels: int) -> Decoded:
    requested = channels if channels in DECODER_CHANNELS else 0
    image = tf.io.decode_png(data, requested, tf.uint16)
    return tf.cast(tf.ensure_shape(image, [None, None, None]), tf.float32), tf.constant("")
