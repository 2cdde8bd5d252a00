"""The raw sample values of a PNG, inside the TensorFlow graph.

`tf.io.decode_png` turns a palette PNG into the luma of its colors, so that the ids [0, 1, 15] of a VOC mask come back
as [0, 38, 147]. The samples of a palette PNG are stored exactly as those of a gray one: here the color type in the
header is rewritten from "palette" to "gray" before decoding, and the decoder gives the indices themselves.
"""

import zlib

import tensorflow as tf

from tfseg.images.byte_strings import digits

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTH, COLOR_TYPE, CHECKSUM = 24, 25, 29
GRAY, RGB, PALETTE, RGBA = 0, 2, 3, 6

Samples = tuple[tf.Tensor, tf.Tensor]


def _checksum_change() -> list[int]:
    """What the header's checksum changes by when the color type goes from palette to gray.

    CRC-32 is affine over GF(2): flipping given bits at a given place of a message of a given length always flips the
    same bits of the checksum. So a damaged header stays a damaged header.
    """
    empty, changed = bytearray(b"IHDR" + bytes(13)), bytearray(b"IHDR" + bytes(13))
    changed[4 + 9] ^= PALETTE ^ GRAY
    return list((zlib.crc32(changed) ^ zlib.crc32(empty)).to_bytes(4, "big"))


_CHANGE = _checksum_change()
_BYTES = [bytes([value]) for value in range(256)]


def is_png(data: tf.Tensor) -> tf.Tensor:
    """True where the encoded file `data` begins as a PNG does."""
    return tf.strings.substr(data, 0, len(SIGNATURE)) == SIGNATURE


def header(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Bits per sample and color type."""
    field = digits(data, DEPTH, 2)
    return field[0], field[1]


def palette_as_gray(data: tf.Tensor) -> tf.Tensor:
    """The same file with its palette indices declared to be gray values."""
    checksum = tf.io.decode_raw(tf.strings.substr(data, CHECKSUM, 4), tf.uint8)
    checksum = tf.bitwise.bitwise_xor(checksum, tf.constant(_CHANGE, tf.uint8))
    new = tf.strings.reduce_join(tf.gather(tf.constant(_BYTES), tf.cast(checksum, tf.int32)))
    before, between = tf.strings.substr(data, 0, COLOR_TYPE), tf.strings.substr(data, COLOR_TYPE + 1, 3)
    rest = tf.strings.substr(data, CHECKSUM + 4, -1)
    return tf.strings.join([before, tf.constant(bytes([GRAY])), between, new, rest])


def samples(data: tf.Tensor) -> Samples:
    """The stored values of a PNG with one value for each pixel, int32 `[height, width]`, and a fault.

    Gray and palette files of 1, 2, 4, 8 and 16 bits; an alpha channel is ignored. A color file is taken where its
    three channels are equal.
    """
    depth, color = header(data)
    in_color = tf.logical_or(tf.equal(color, RGB), tf.equal(color, RGBA))
    values, fault = tf.cond(in_color, lambda: _equal_channels(data), lambda: (_one_channel(data, depth, color), ""))
    return tf.ensure_shape(values, [None, None]), fault


def _one_channel(data: tf.Tensor, depth: tf.Tensor, color: tf.Tensor) -> tf.Tensor:
    data = tf.cond(tf.equal(color, PALETTE), lambda: palette_as_gray(data), lambda: data)
    return tf.cond(
        tf.equal(depth, 16),
        lambda: tf.cast(tf.io.decode_png(data, 1, tf.uint16)[:, :, 0], tf.int32),
        lambda: _unscaled(tf.cast(tf.io.decode_png(data, 1)[:, :, 0], tf.int32), depth),
    )


def _unscaled(values: tf.Tensor, depth: tf.Tensor) -> tf.Tensor:
    """Undoes the decoder's stretching of 1, 2 and 4 bits to 0..255."""
    largest = tf.bitwise.left_shift(1, depth) - 1
    return tf.cond(depth < 8, lambda: values // (255 // largest), lambda: values)


def _equal_channels(data: tf.Tensor) -> Samples:
    values = tf.cast(tf.io.decode_png(data, 3), tf.int32)
    equal = tf.reduce_all(tf.equal(values, values[:, :, :1]))
    fault = "the mask is a color picture, but `data.source.mask` expects ids. Set `data.source.mask: colors`."
    return values[:, :, 0], tf.where(equal, "", fault)
