"""Decoding of the raw sample values of a PNG inside the TensorFlow graph.

`tf.io.decode_png` converts a palette PNG to the luma of its colors: the ids [0, 1, 15] of a VOC mask become
[0, 38, 147]. The samples of a palette PNG are stored like those of a gray PNG. The color type in the header is
therefore rewritten from "palette" to "gray" before decoding, so that the decoder returns the palette indices.
"""

import zlib

import tensorflow as tf

from tfseg.images.byte_strings import digits

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTH, COLOR_TYPE, CHECKSUM = 24, 25, 29
GRAY, RGB, PALETTE, RGBA = 0, 2, 3, 6

Samples = tuple[tf.Tensor, tf.Tensor]


def _checksum_change() -> list[int]:
    """Computes the bits of the header checksum that flip when the color type changes from palette to gray.

    CRC-32 is affine over GF(2): flipping given bits at a given position of a message of a given length always flips the
    same bits of the checksum. A corrupt header therefore stays corrupt.
    """
    empty, changed = bytearray(b"IHDR" + bytes(13)), bytearray(b"IHDR" + bytes(13))
    changed[4 + 9] ^= PALETTE ^ GRAY
    return list((zlib.crc32(changed) ^ zlib.crc32(empty)).to_bytes(4, "big"))


_CHANGE = _checksum_change()
_BYTES = [bytes([value]) for value in range(256)]


def is_png(data: tf.Tensor) -> tf.Tensor:
    """Returns whether the content `data` begins with the PNG signature."""
    return tf.strings.substr(data, 0, len(SIGNATURE)) == SIGNATURE


def header(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the bit depth and the color type from the header of a PNG file."""
    field = digits(data, DEPTH, 2)
    return field[0], field[1]


def is_plain(data: tf.Tensor) -> tf.Tensor:
    """Returns whether the content is a gray or palette PNG of 8 bits, by its first bytes."""
    first = tf.cast(tf.io.decode_raw(data, tf.uint8, fixed_length=COLOR_TYPE + 1), tf.int32)
    begins = tf.reduce_all(tf.equal(first[: len(SIGNATURE)], list(SIGNATURE)))
    kind = first[COLOR_TYPE]
    return begins & tf.equal(first[DEPTH], 8) & (tf.equal(kind, GRAY) | tf.equal(kind, PALETTE))


def plain_samples(data: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG that `is_plain` to its stored values, uint8 `[height, width]`."""
    is_palette = tf.equal(tf.strings.substr(data, COLOR_TYPE, 1), bytes([PALETTE]))
    gray = tf.cond(is_palette, lambda: palette_as_gray(data), lambda: data)
    return tf.io.decode_png(gray, 1)[:, :, 0]


def palette_as_gray(data: tf.Tensor) -> tf.Tensor:
    """Returns the content with its palette indices declared as gray values."""
    checksum = tf.io.decode_raw(tf.strings.substr(data, CHECKSUM, 4), tf.uint8)
    checksum = tf.bitwise.bitwise_xor(checksum, tf.constant(_CHANGE, tf.uint8))
    new = tf.strings.reduce_join(tf.gather(tf.constant(_BYTES), tf.cast(checksum, tf.int32)))
    before, between = tf.strings.substr(data, 0, COLOR_TYPE), tf.strings.substr(data, COLOR_TYPE + 1, 3)
    rest = tf.strings.substr(data, CHECKSUM + 4, -1)
    return tf.strings.join([before, tf.constant(bytes([GRAY])), between, new, rest])


def samples(data: tf.Tensor) -> Samples:
    """Decodes a PNG with one value per pixel to its stored values, int32 `[height, width]`, and a problem.

    Supported are gray files of up to 16 bits, palette files, and color files with three equal channels. An alpha
    channel is ignored.
    """
    depth, color = header(data)
    in_color = tf.logical_or(tf.equal(color, RGB), tf.equal(color, RGBA))
    values, problem = tf.cond(
        in_color, lambda: _equal_channels(data, depth), lambda: (_one_channel(data, depth, color), "")
    )
    return tf.ensure_shape(values, [None, None]), problem


def _one_channel(data: tf.Tensor, depth: tf.Tensor, color: tf.Tensor) -> tf.Tensor:
    data = tf.cond(tf.equal(color, PALETTE), lambda: palette_as_gray(data), lambda: data)
    return tf.cond(
        tf.equal(depth, 16),
        lambda: tf.cast(tf.io.decode_png(data, 1, tf.uint16)[:, :, 0], tf.int32),
        lambda: _unscaled(tf.cast(tf.io.decode_png(data, 1)[:, :, 0], tf.int32), depth),
    )


def _unscaled(values: tf.Tensor, depth: tf.Tensor) -> tf.Tensor:
    """Undoes the scaling of 1-bit, 2-bit and 4-bit values to 0..255 by the decoder."""
    largest = tf.bitwise.left_shift(1, depth) - 1
    return tf.cond(depth < 8, lambda: values // (255 // largest), lambda: values)


def _equal_channels(data: tf.Tensor, depth: tf.Tensor) -> Samples:
    values = tf.cond(
        tf.equal(depth, 16),
        lambda: tf.cast(tf.io.decode_png(data, 3, tf.uint16), tf.int32),
        lambda: tf.cast(tf.io.decode_png(data, 3), tf.int32),
    )
    equal = tf.reduce_all(tf.equal(values, values[:, :, :1]))
    problem = "the mask is a color image, but `data.source.mask` expects ids. Set `data.source.mask: colors`."
    return values[:, :, 0], tf.where(equal, "", problem)
