"""Parts of an encoded file, by position: a file may end before them."""

import tensorflow as tf


def part(data: tf.Tensor, start: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """Up to `count` bytes from `start` on; fewer where the file ends.

    `tf.strings.substr` quotes the whole file in its error, which TensorFlow cannot turn into text.
    """
    length = tf.strings.length(data)
    start = tf.clip_by_value(start, 0, length)
    return tf.strings.substr(data, start, tf.clip_by_value(count, 0, length - start))


def digits(data: tf.Tensor, start: tf.Tensor | int, count: int) -> tf.Tensor:
    """int32 `[count]`: the bytes from `start` on, zeros where the file ends."""
    found = tf.strings.substr(tf.strings.join([part(data, start, count), bytes(count)]), 0, count)
    return tf.cast(tf.io.decode_raw(found, tf.uint8), tf.int32)
