"""The orientation that a camera notes in a JPEG (EXIF tag 0x0112), read and undone inside the TensorFlow graph."""

import tensorflow as tf

HEAD = 1 << 17
"""Where an EXIF block lies: it is at most 64 KiB long and only other short blocks stand before it."""

_TAG = 0x0112
_APPLICATION_1 = 0xE1


def orientation(data: tf.Tensor) -> tf.Tensor:
    """1 to 8 as EXIF counts; 1 where a JPEG says nothing."""
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 0, HEAD), tf.uint8), tf.int32)
    place = _exif_block(head)
    return tf.cond(place > 0, lambda: _tag_value(head, place), lambda: tf.constant(1))


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """The image as it is meant to be looked at: orientations 5 to 8 swap the axes, half of all mirror one."""
    image = tf.cond(orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    top_down = tf.reduce_any(tf.equal(orientation, [3, 4, 7, 8]))
    left_right = tf.reduce_any(tf.equal(orientation, [2, 3, 6, 7]))
    image = tf.cond(top_down, lambda: image[::-1], lambda: image)
    return tf.cond(left_right, lambda: image[:, ::-1], lambda: image)


def _exif_block(head: tf.Tensor) -> tf.Tensor:
    """Where the TIFF header of the EXIF block begins, or 0: walks the application segments that follow the first marker."""
    size = tf.size(head)

    def is_application(place: tf.Tensor) -> tf.Tensor:
        return (place + 18 < size) & (head[tf.minimum(place + 1, size - 1)] // 16 == _APPLICATION_1 // 16)

    def is_exif(place: tf.Tensor) -> tf.Tensor:
        wanted = [_APPLICATION_1, *b"Exif"]
        found = tf.concat([head[place + 1 : place + 2], head[place + 4 : place + 8]], 0)
        return tf.reduce_all(tf.equal(found, wanted))

    def go_on(place: tf.Tensor) -> tf.Tensor:
        return tf.cond(is_application(place), lambda: tf.logical_not(is_exif(place)), lambda: False)

    def skip(place: tf.Tensor) -> tuple[tf.Tensor]:
        return (place + 2 + head[place + 2] * 256 + head[place + 3],)

    (place,) = tf.while_loop(go_on, skip, (tf.constant(2),))
    return tf.where(is_application(place), place + 10, 0)


def _tag_value(head: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """The orientation entry of the first directory of the TIFF block at `start`."""
    weights = tf.where(tf.equal(head[start], ord("I")), [1, 256, 0, 0], [256, 1, 0, 0])
    wide = tf.where(tf.equal(head[start], ord("I")), [1, 1 << 8, 1 << 16, 1 << 24], [1 << 24, 1 << 16, 1 << 8, 1])
    directory = start + tf.reduce_sum(head[start + 4 : start + 8] * wide)
    count = tf.reduce_sum(head[directory : directory + 2] * weights[:2])
    entries = head[directory + 2 : directory + 2 + 12 * count]
    entries = tf.reshape(entries[: 12 * (tf.size(entries) // 12)], (-1, 12))
    tags = tf.reduce_sum(entries[:, :2] * weights[:2], 1)
    values = tf.reduce_sum(entries[:, 8:10] * weights[:2], 1)
    value = tf.reduce_sum(tf.where(tf.equal(tags, _TAG), values, 0))
    return tf.where((value >= 1) & (value <= 8), value, 1)
