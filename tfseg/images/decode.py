"""Decoding of images inside the TensorFlow graph, so that tf.data and a server can run it in parallel.

The decoder is chosen by the first bytes of the file, and only decoders that are safe for any content are used:
`tf.io.decode_image` alone aborts the process on an animated WebP.
"""

from functools import lru_cache, partial
from typing import Any

import tensorflow as tf

from tfseg.images import exif, png
from tfseg.images.bmp import decode_bmp
from tfseg.images.npy import MAGIC as NUMPY
from tfseg.images.npy import decode_npy

JPEG, PNG, BMP, GIF = b"\xff\xd8\xff", png.SIGNATURE, b"BM", b"GIF8"
MAGIC = (JPEG, PNG, NUMPY, BMP, GIF)
"""First bytes of the supported formats."""
DECODER_CHANNELS = (1, 3, 4)
"""Numbers of channels to which `tf.io.decode_png` converts. For other numbers, PNGs keep their stored channels."""
LUMA = (19595, 38470, 7471)
"""Luma coefficients of red, green and blue times 2^16: ITU-R BT.601, rounded as in Pillow."""
UNSUPPORTED = "the image is {}. Expected PNG, JPEG, BMP, GIF or .npy, with any suffix: save it as PNG."

BROKEN = (tf.errors.InvalidArgumentError, UnicodeDecodeError)
"""Exceptions for corrupt files; the second if TensorFlow quotes bytes in its message that are not UTF-8 text."""

Decoded = tuple[tf.Tensor, tf.Tensor]


def decode_image(data: tf.Tensor, channels: int = 3) -> Decoded:
    """Decodes an image file to uint8 `[height, width, channels]`, and a problem: a message, empty if the file is valid.

    Supported are JPEG (rotated upright by its EXIF orientation; decoded with the accurate inverse DCT, so that pixels
    equal those of other decoders), PNG of up to 8 bits (its eXIf chunk is ignored), GIF (first frame), BMP, and uint8
    `.npy` arrays of shape `[height, width]` or `[height, width, channels]` with any number of channels, which are not
    converted. In the other formats, a gray channel is repeated for 3 channels, and colors are converted to gray (luma)
    for 1 channel. For 4 channels, the alpha of BMP and GIF is 255.

    >>> image, problem = decode_image(tf.io.encode_png(tf.zeros([4, 6, 1], tf.uint8)), channels=3)
    >>> tuple(image.shape)
    (4, 6, 3)

    Args:
        data: Content of the file, a string scalar.
        channels: Integer, number of channels of the image.

    Raises:
        tf.errors.InvalidArgumentError: If the file is corrupt.
    """
    return _graph(channels)(data)


@lru_cache(maxsize=16)
def _graph(channels: int) -> Any:
    """Returns the decoder as one graph for all datasets and signatures, so that its many operations are traced once."""
    decode = partial(_decode, channels=channels)
    return tf.function(decode, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def _decode(data: tf.Tensor, channels: int) -> Decoded:
    decoders = (_jpeg, _png, decode_npy, _bmp, _gif, _unsupported)
    branches = [lambda decode=decode: decode(data, channels) for decode in decoders]
    image, problem = tf.switch_case(_format(data), branches)
    return with_channels(image, problem, channels)


def with_channels(image: tf.Tensor, problem: tf.Tensor, channels: int) -> Decoded:
    """Returns the decoded image, or a blank one if there is a problem or it has another number of channels."""
    received = tf.shape(image)[2]
    fits = tf.equal(received, channels)
    noun = tf.where(tf.equal(received, 1), " channel", " channels")
    parts = ["the image has ", tf.strings.as_string(received), noun, f". Expected {channels}: correct "]
    message = tf.strings.join([*parts, "`data.source.channels`, or the file."])
    blank = tf.zeros([0, 0, channels], image.dtype)
    image = tf.cond(fits & tf.equal(problem, ""), lambda: tf.ensure_shape(image, [None, None, channels]), lambda: blank)
    problem = tf.where(tf.equal(problem, "") & ~fits, message, problem)
    return tf.ensure_shape(image, [None, None, channels]), problem


def is_supported(data: bytes) -> bool:
    """Returns whether `decode_image` supports the format of a file with this content."""
    return data.startswith(MAGIC)


def _format(data: tf.Tensor) -> tf.Tensor:
    """Returns the index of the format in `MAGIC`, or `len(MAGIC)` for others."""
    begins = tf.stack([_begins(data, magic) for magic in MAGIC] + [tf.constant(True)])
    return tf.argmax(tf.cast(begins, tf.int32), output_type=tf.int32)


def _begins(data: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.equal(tf.strings.substr(data, 0, len(magic)), magic)


def _jpeg(data: tf.Tensor, channels: int) -> Decoded:
    image = tf.io.decode_jpeg(data, channels if channels in (1, 3) else 0, dct_method="INTEGER_ACCURATE")
    return _any_size(exif.upright(image, exif.orientation(data))), tf.constant("")


def _png(data: tf.Tensor, channels: int) -> Decoded:
    requested = channels if channels in DECODER_CHANNELS else 0
    deep = png.header(data)[0] > 8
    blank = tf.zeros([0, 0, channels], tf.uint8)
    image = tf.cond(deep, lambda: blank, lambda: _any_size(tf.io.decode_png(data, requested)))
    message = (
        "the image has 16 bits per channel, of which the lower 8 would be lost. Expected 8: set `data.value_range` to "
        "the values that become 0 and 255, or rescale its values to 0..255 and save it again."
    )
    return _any_size(image), tf.where(deep, message, "")


def _bmp(data: tf.Tensor, channels: int) -> Decoded:
    color, problem = decode_bmp(data)
    return _converted(color, channels), problem


def _gif(data: tf.Tensor, channels: int) -> Decoded:
    """Decodes the first frame; `tf.io.decode_gif` would decode all of them."""
    first = tf.io.decode_image(data, 3, expand_animations=False)
    return _converted(tf.ensure_shape(first, [None, None, 3]), channels), tf.constant("")


def _converted(color: tf.Tensor, channels: int) -> tf.Tensor:
    """Converts RGB to 1 (luma) or 4 channels (opaque); returns RGB for any other number."""
    if channels == 1:
        luma = tf.reduce_sum(tf.cast(color, tf.int32) * LUMA, axis=-1, keepdims=True) + (1 << 15)
        return _any_size(tf.cast(luma // (1 << 16), tf.uint8))
    if channels == 4:
        return _any_size(tf.pad(color, [(0, 0), (0, 0), (0, 1)], constant_values=255))
    return _any_size(color)


def _unsupported(data: tf.Tensor, channels: int) -> Decoded:
    """Returns a problem that names the unsupported format, if known; asserts that the file is not empty."""
    with tf.control_dependencies([tf.debugging.Assert(tf.strings.length(data) > 0, ["the file is empty"])]):
        data = tf.identity(data)
    head = tf.strings.substr(tf.strings.join([tf.strings.substr(data, 0, 12), bytes(12)]), 0, 12)
    webp = tf.equal(tf.strings.substr(head, 0, 4), b"RIFF") & tf.equal(tf.strings.substr(head, 8, 4), b"WEBP")
    tiff = tf.reduce_any(tf.equal(tf.strings.substr(head, 0, 4), [b"II*\0", b"MM\0*"]))
    name = tf.where(webp, "a WebP file", tf.where(tiff, "a TIFF file", "of an unknown format"))
    return tf.zeros([0, 0, channels], tf.uint8), tf.strings.regex_replace(UNSUPPORTED, r"\{\}", name)


def _any_size(image: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(image, [None, None, None])
