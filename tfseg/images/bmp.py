"""Decoding of the BMP files that `tf.io.decode_bmp` supports, and of palette BMPs, which it decodes incorrectly."""

import tensorflow as tf

from tfseg.images.byte_strings import digits, part

PIXELS, HEADER, WIDTH, DEPTH, COMPRESSION = 10, 14, 18, 28, 30
"""Byte offsets of the header fields: offset of the pixels, length of the info header (DIB), width (followed by the
height, which is negative for rows from top to bottom), bits per pixel, and compression."""

Decoded = tuple[tf.Tensor, tf.Tensor]


def decode_bmp(data: tf.Tensor) -> Decoded:
    """Decodes an uncompressed 24-bit or 32-bit RGB or 8-bit palette BMP: uint8 `[height, width, 3]`, and a problem."""
    depth, compression = _number(data, DEPTH, 2), _number(data, COMPRESSION, 4)
    data = _trimmed(data, depth)
    supported = tf.equal(compression, 0) & tf.reduce_any(tf.equal(depth, [8, 24, 32]))
    text = "the image is a BMP of {} bits and compression {}. Expected 8, 24 or 32 bits, uncompressed: save it as PNG."
    blank = tf.zeros([0, 0, 3], tf.uint8)
    color = tf.cond(
        supported,
        lambda: tf.cond(tf.equal(depth, 8), lambda: _in_palette(data), lambda: tf.io.decode_bmp(data)[..., :3]),
        lambda: blank,
    )
    problem = tf.where(supported, "", tf.strings.format(text, (depth, compression)))
    return tf.ensure_shape(color, [None, None, 3]), problem


def _trimmed(data: tf.Tensor, depth: tf.Tensor) -> tf.Tensor:
    """Drops trailing bytes, which some programs append to the pixels and `tf.io.decode_bmp` rejects."""
    width, height = _number(data, WIDTH, 4), tf.abs(_number(data, WIDTH + 4, 4))
    row = (width * depth + 31) // 32 * 4
    return part(data, 0, _number(data, PIXELS, 4) + row * height)


def _in_palette(data: tf.Tensor) -> tf.Tensor:
    """Looks up the palette colors. `tf.io.decode_bmp` decodes palette indices as gray values."""
    start = HEADER + _number(data, HEADER, 4)
    entries = tf.io.decode_raw(part(data, start, _number(data, PIXELS, 4) - start), tf.uint8)
    colors = tf.reverse(tf.reshape(entries[: tf.size(entries) // 4 * 4], (-1, 4))[:, :3], [1])  # blue, green, red, 0
    return tf.gather(colors, tf.cast(tf.io.decode_bmp(data)[..., 0], tf.int32))


def _number(data: tf.Tensor, offset: int, count: int) -> tf.Tensor:
    """Reads a little-endian integer of `count` bytes."""
    return tf.reduce_sum(digits(data, offset, count) * [1 << (8 * index) for index in range(count)])
