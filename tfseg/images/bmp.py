"""BMP files: those whose pixels `tf.io.decode_bmp` gives as they are meant."""

import tensorflow as tf

from tfseg.images.byte_strings import digits, part

PIXELS, HEADER, WIDTH, DEPTH, COMPRESSION = 10, 14, 18, 28, 30
"""Where a file says where its pixels begin, how long its second header is, its width (height follows; negative, from
the top down), its bits per pixel, and its compression."""

Decoded = tuple[tf.Tensor, tf.Tensor]


def decode_bmp(data: tf.Tensor) -> Decoded:
    """Uncompressed RGB of 24 or 32 bits, or a palette of 8: uint8 `[height, width, 3]`, and a fault."""
    depth, compression = _number(data, DEPTH, 2), _number(data, COMPRESSION, 4)
    data = _trimmed(data, depth)
    supported = tf.equal(compression, 0) & tf.reduce_any(tf.equal(depth, [8, 24, 32]))
    told = "the image is a BMP of {} bits and compression {}. Expected 8, 24 or 32 bits, uncompressed: save it as PNG."
    blank = tf.zeros([0, 0, 3], tf.uint8)
    color = tf.cond(
        supported,
        lambda: tf.cond(tf.equal(depth, 8), lambda: _in_palette(data), lambda: tf.io.decode_bmp(data)[..., :3]),
        lambda: blank,
    )
    fault = tf.where(supported, "", tf.strings.format(told, (depth, compression)))
    return tf.ensure_shape(color, [None, None, 3]), fault


def _trimmed(data: tf.Tensor, depth: tf.Tensor) -> tf.Tensor:
    """Without what some programs put behind the pixels, which `tf.io.decode_bmp` would take for a fault."""
    width, height = _number(data, WIDTH, 4), tf.abs(_number(data, WIDTH + 4, 4))
    row = (width * depth + 31) // 32 * 4
    return part(data, 0, _number(data, PIXELS, 4) + row * height)


def _in_palette(data: tf.Tensor) -> tf.Tensor:
    """`tf.io.decode_bmp` takes the indices of a palette for gray values."""
    start = HEADER + _number(data, HEADER, 4)
    entries = tf.io.decode_raw(part(data, start, _number(data, PIXELS, 4) - start), tf.uint8)
    colors = tf.reverse(tf.reshape(entries[: tf.size(entries) // 4 * 4], (-1, 4))[:, :3], [1])  # blue, green, red, 0
    return tf.gather(colors, tf.cast(tf.io.decode_bmp(data)[..., 0], tf.int32))


def _number(data: tf.Tensor, place: int, count: int) -> tf.Tensor:
    """Little-endian."""
    return tf.reduce_sum(digits(data, place, count) * [1 << (8 * index) for index in range(count)])
