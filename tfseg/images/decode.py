"""Encoded images to tensors, inside the TensorFlow graph, where tf.data and a server can run them in parallel.

Which decoder reads a file is decided by its first bytes, and only decoders that are safe with any content are asked:
`tf.io.decode_image` by itself ends the process at an animated WebP.
"""

from functools import lru_cache, partial
from typing import Any

import tensorflow as tf

from tfseg.images import exif, png
from tfseg.images.bmp import decode_bmp
from tfseg.images.byte_strings import digits, part

JPEG, PNG, NUMPY, BMP, GIF = b"\xff\xd8\xff", png.SIGNATURE, b"\x93NUMPY", b"BM", b"GIF8"
MAGIC = (JPEG, PNG, NUMPY, BMP, GIF)
"""What the supported files begin with."""
DECODER_CHANNELS = (1, 3, 4)
"""The channel counts that TensorFlow's decoders convert to; any other is taken as it is stored."""
LUMA = (19595, 38470, 7471)
"""Shares of red, green and blue in 2^16 parts: ITU-R BT.601, rounded as Pillow does."""
UNSUPPORTED = "the image is {}. Expected PNG, JPEG, BMP, GIF or .npy, whatever its suffix: save it as PNG."

BROKEN = (tf.errors.InvalidArgumentError, UnicodeDecodeError)
"""What decoding a broken file raises; the second where TensorFlow quotes bytes in its message that are no text."""

Decoded = tuple[tf.Tensor, tf.Tensor]


def decode_image(data: tf.Tensor, channels: int = 3) -> Decoded:
    """An image file as uint8 `[height, width, channels]`, and a fault: a text that is empty where all is well.

    JPEG (turned upright by its EXIF orientation; the accurate inverse DCT, so that pixels equal those of other
    decoders), PNG of 8 bits or fewer (its eXIf is ignored), GIF (first frame), BMP, and `.npy` arrays of uint8
    `[height, width]` or `[height, width, channels]` for any number of channels. A gray file asked for 3 channels
    repeats its one; a color file asked for 1 gives its luma; where 4 are asked for, BMP and GIF are opaque.

    >>> image, fault = decode_image(tf.io.encode_png(tf.zeros([4, 6, 1], tf.uint8)), channels=3)
    >>> tuple(image.shape)
    (4, 6, 3)

    Args:
        data: the file's bytes, a string scalar.
        channels: how many channels the image must have.

    Raises:
        tf.errors.InvalidArgumentError: the file is broken.
    """
    return _graph(channels)(data)


@lru_cache(maxsize=16)
def _graph(channels: int) -> Any:
    """The decoder as one graph that every dataset and signature calls: its many operations are traced once."""
    decode = partial(_decode, channels=channels)
    return tf.function(decode, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def _decode(data: tf.Tensor, channels: int) -> Decoded:
    readers = (_jpeg, _png, _array, _bmp, _gif, _foreign)
    image, fault = tf.switch_case(_kind(data), [lambda read=read: read(data, channels) for read in readers])
    found = tf.shape(image)[2]
    fits = tf.equal(found, channels)
    told = "the image has {} channels. Expected {}: correct `data.source.channels`, or the file."
    told = tf.strings.format(told, (found, channels))
    blank = tf.zeros([0, 0, channels], tf.uint8)
    image = tf.cond(fits & tf.equal(fault, ""), lambda: tf.ensure_shape(image, [None, None, channels]), lambda: blank)
    fault = tf.where(tf.equal(fault, "") & ~fits, told, fault)
    return tf.ensure_shape(image, [None, None, channels]), fault


def is_supported(data: bytes) -> bool:
    """Whether `decode_image` reads files of this kind."""
    return data.startswith(MAGIC)


def is_decodable(data: bytes) -> bool:
    """Whether the file's content is a whole image, of any number of channels and bits."""
    if not is_supported(data):
        return False
    try:
        tf.io.decode_png(data) if data.startswith(PNG) else decode_image(tf.constant(data))
    except BROKEN:
        return False
    return True


def _kind(data: tf.Tensor) -> tf.Tensor:
    """The index in `MAGIC`, or the one behind."""
    begins = tf.stack([_begins(data, magic) for magic in MAGIC] + [tf.constant(True)])
    return tf.argmax(tf.cast(begins, tf.int32), output_type=tf.int32)


def _begins(data: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.equal(tf.strings.substr(data, 0, len(magic)), magic)


def _jpeg(data: tf.Tensor, channels: int) -> Decoded:
    image = tf.io.decode_jpeg(data, channels if channels in (1, 3) else 0, dct_method="INTEGER_ACCURATE")
    return _any_size(exif.upright(image, exif.orientation(data))), tf.constant("")


def _png(data: tf.Tensor, channels: int) -> Decoded:
    wanted = channels if channels in DECODER_CHANNELS else 0
    deep = png.header(data)[0] > 8
    blank = tf.zeros([0, 0, channels], tf.uint8)
    image = tf.cond(deep, lambda: blank, lambda: _any_size(tf.io.decode_png(data, wanted)))
    told = (
        "the image has 16 bits a channel, of which the lower 8 would be lost. Expected 8: scale its values to 0..255 "
        "as they are meant to be seen, and save them so."
    )
    return _any_size(image), tf.where(deep, told, "")


def _bmp(data: tf.Tensor, channels: int) -> Decoded:
    color, fault = decode_bmp(data)
    return _converted(color, channels), fault


def _gif(data: tf.Tensor, channels: int) -> Decoded:
    """The first frame; `tf.io.decode_gif` would decode all of them."""
    first = tf.io.decode_image(data, 3, expand_animations=False)
    return _converted(tf.ensure_shape(first, [None, None, 3]), channels), tf.constant("")


def _converted(color: tf.Tensor, channels: int) -> tf.Tensor:
    """RGB as luma, as it is, or opaque; other numbers of channels it has not."""
    if channels == 1:
        luma = tf.reduce_sum(tf.cast(color, tf.int32) * LUMA, axis=-1, keepdims=True) + (1 << 15)
        return _any_size(tf.cast(luma // (1 << 16), tf.uint8))
    if channels == 4:
        return _any_size(tf.pad(color, [(0, 0), (0, 0), (0, 1)], constant_values=255))
    return _any_size(color)


def _array(data: tf.Tensor, channels: int) -> Decoded:
    """A `.npy` file: a preamble with the header's length, a header as text, the values in row or column order."""
    first = digits(data, 6, 6)
    long = first[0] > 1  # versions 2 and 3 count the header by four bytes
    size = tf.reduce_sum(first[2:] * tf.where(long, [1, 1 << 8, 1 << 16, 1 << 24], [1, 1 << 8, 0, 0]))
    start = tf.where(long, 12, 10)
    head, values = part(data, start, size), tf.io.decode_raw(part(data, start + size, 1 << 30), tf.uint8)
    plain = tf.strings.regex_full_match(head, r".*'descr': '\|u1'.*\s*")
    columns = tf.strings.regex_full_match(head, r".*'fortran_order': True.*\s*")
    with tf.control_dependencies([tf.debugging.Assert(plain, ["a .npy image must hold uint8"])]):
        shape = tf.strings.regex_replace(head, r".*'shape': \(([0-9, ]*)\).*\s*", r"\1")
    sides = tf.strings.to_number(tf.strings.split(tf.strings.regex_replace(shape, r"[, ]+", " ")), tf.int32)
    sides = tf.ensure_shape(tf.cond(tf.size(sides) < 3, lambda: tf.concat([sides, [1]], 0), lambda: sides), [3])
    count = tf.reduce_prod(tf.cast(sides, tf.int64))
    some = (count > 0) & (count <= tf.size(values, tf.int64))
    with tf.control_dependencies([tf.debugging.Assert(some, ["a .npy image must hold as many values as it says"])]):
        values = values[:count]
    image = tf.cond(
        columns,
        lambda: tf.transpose(tf.reshape(values, tf.reverse(sides, [0])), (2, 1, 0)),
        lambda: tf.reshape(values, sides),
    )
    return _any_size(image), tf.constant("")


def _foreign(data: tf.Tensor, channels: int) -> Decoded:
    """What is refused, by name where that is known; an empty file is broken."""
    with tf.control_dependencies([tf.debugging.Assert(tf.strings.length(data) > 0, ["the file is empty"])]):
        data = tf.identity(data)
    head = tf.strings.substr(tf.strings.join([tf.strings.substr(data, 0, 12), bytes(12)]), 0, 12)
    webp = tf.equal(tf.strings.substr(head, 0, 4), b"RIFF") & tf.equal(tf.strings.substr(head, 8, 4), b"WEBP")
    tiff = tf.reduce_any(tf.equal(tf.strings.substr(head, 0, 4), [b"II*\0", b"MM\0*"]))
    kind = tf.where(webp, "a WebP file", tf.where(tiff, "a TIFF file", "of an unknown kind"))
    return tf.zeros([0, 0, channels], tf.uint8), tf.strings.regex_replace(UNSUPPORTED, r"\{\}", kind)


def _any_size(image: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(image, [None, None, None])
