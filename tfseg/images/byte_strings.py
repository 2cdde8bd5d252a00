"""Slices of encoded files that may be truncated."""

import tensorflow as tf


def part(data: tf.Tensor, start: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """Returns up to `count` bytes from `start`, fewer at the end of the file.

    It never raises an error. `tf.strings.substr` would quote the whole file in its error, and TensorFlow cannot decode
    such a message as text.
    """
    length = tf.strings.length(data)
    start = tf.clip_by_value(start, 0, length)
    return tf.strings.substr(data, start, tf.clip_by_value(count, 0, length - start))


def digits(data: tf.Tensor, start: tf.Tensor | int, count: int) -> tf.Tensor:
    """Returns the bytes from `start`, int32 `[count]`, padded with zeros at the end of the file."""
    padded = tf.strings.substr(tf.strings.join([part(data, start, count), bytes(count)]), 0, count)
    return tf.cast(tf.io.decode_raw(padded, tf.uint8), tf.int32)
