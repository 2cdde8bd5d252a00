"""Encoded images to tensors, inside the TensorFlow graph, where tf.data can run them in parallel."""

import tensorflow as tf

from tfseg.data import exif
from tfseg.data.png import is_png

JPEG = b"\xff\xd8\xff"
NUMPY = b"\x93NUMPY"
DECODER_CHANNELS = (1, 3, 4)
"""The channel counts that TensorFlow's decoders convert to; any other is taken as it is stored."""

Decoded = tuple[tf.Tensor, tf.Tensor]


def decode_image(data: tf.Tensor, channels: int = 3) -> Decoded:
    """An image file as uint8 `[height, width, channels]`, and a fault: a text that is empty where all is well.

    JPEG (turned upright by its EXIF orientation; the accurate inverse DCT, so that pixels equal those of other
    decoders), PNG, GIF (first frame), BMP, and `.npy` arrays of uint8 `[height, width]` or `[height, width, channels]`
    for any number of channels. A grey file asked for 3 channels repeats its one; a colour file asked for 1 gives its
    luma.

    >>> image, fault = decode_image(tf.io.encode_png(tf.zeros([4, 6, 1], tf.uint8)), channels=3)
    >>> tuple(image.shape)
    (4, 6, 3)

    Args:
        data: the file's bytes, a string scalar.
        channels: how many channels the image must have.
    """
    image = tf.cond(
        _begins(data, JPEG),
        lambda: _jpeg(data, channels),
        lambda: tf.cond(_begins(data, NUMPY), lambda: _array(data), lambda: _picture(data, channels)),
    )
    found = tf.shape(image)[2]
    fits = tf.equal(found, channels)
    told = "the image has {} channels. Expected {}: correct `data.source.channels`, or the file."
    told = tf.strings.format(told, (found, channels))
    blank = tf.zeros([0, 0, channels], tf.uint8)
    image = tf.cond(fits, lambda: tf.ensure_shape(image, [None, None, channels]), lambda: blank)
    return tf.ensure_shape(image, [None, None, channels]), tf.where(fits, "", told)


def is_decodable(data: bytes) -> bool:
    """Whether the file's content is an image at all."""
    try:
        _array(tf.constant(data)) if data.startswith(NUMPY) else tf.io.decode_image(data)
    except tf.errors.InvalidArgumentError:
        return False
    return True


def _begins(data: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.equal(tf.strings.substr(data, 0, len(magic)), magic)


def _jpeg(data: tf.Tensor, channels: int) -> tf.Tensor:
    image = tf.io.decode_jpeg(data, channels if channels in (1, 3) else 0, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(exif.upright(image, exif.orientation(data)), [None, None, None])


def _picture(data: tf.Tensor, channels: int) -> tf.Tensor:
    wanted = channels if channels in DECODER_CHANNELS else 0
    return tf.cond(
        is_png(data),
        lambda: tf.ensure_shape(tf.io.decode_png(data, wanted), [None, None, None]),
        lambda: tf.ensure_shape(tf.io.decode_image(data, min(wanted, 3), expand_animations=False), [None, None, None]),
    )


def _array(data: tf.Tensor) -> tf.Tensor:
    """A version 1 `.npy` file: a 10 byte preamble, a header as text, the values in row order."""
    size = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 8, 2), tf.uint8), tf.int32)
    end = 10 + size[0] + 256 * size[1]
    head = tf.strings.substr(data, 10, end - 10)
    plain = tf.strings.regex_full_match(head, r".*'descr': '\|u1', 'fortran_order': False.*\s*")
    told = "a .npy image must hold uint8 in row order"
    with tf.control_dependencies([tf.debugging.Assert(plain, [told, head])]):
        shape = tf.strings.regex_replace(head, r".*'shape': \(([0-9, ]*)\).*\s*", r"\1")
    sides = tf.strings.to_number(tf.strings.split(tf.strings.regex_replace(shape, r"[, ]+", " ")), tf.int32)
    sides = tf.cond(tf.size(sides) < 3, lambda: tf.concat([sides, [1]], 0), lambda: sides)
    return tf.reshape(tf.io.decode_raw(tf.strings.substr(data, end, -1), tf.uint8), tf.ensure_shape(sides, [3]))
