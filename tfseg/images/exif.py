"""The orientation that a camera notes in a JPEG (EXIF tag 0x0112), read and undone inside the TensorFlow graph."""

import tensorflow as tf

BLOCK = 1 << 16
"""No EXIF block is longer."""

_TAG = 0x0112
_APPLICATION_1 = b"\xff\xe1"
_EXIF = b"Exif\0\0"


def orientation(data: tf.Tensor) -> tf.Tensor:
    """1 to 8 as EXIF counts; 1 where a JPEG says nothing."""
    place = _exif_block(data)
    return tf.cond(place > 0, lambda: _tag_value(_bytes(data, place, BLOCK)), lambda: tf.constant(1))


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """The image as it is meant to be looked at: orientations 5 to 8 swap the axes, half of all mirror one."""
    return tf.cond(tf.equal(orientation, 1), lambda: image, lambda: _turned(image, orientation))


def _turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    image = tf.cond(orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    top_down = tf.reduce_any(tf.equal(orientation, [3, 4, 7, 8]))
    left_right = tf.reduce_any(tf.equal(orientation, [2, 3, 6, 7]))
    image = tf.cond(top_down, lambda: tf.reverse(image, [0]), lambda: image)
    return tf.cond(left_right, lambda: tf.reverse(image, [1]), lambda: image)


def _bytes(data: tf.Tensor, place: tf.Tensor, count: int) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(tf.strings.substr(data, place, count), tf.uint8), tf.int32)


def _exif_block(data: tf.Tensor) -> tf.Tensor:
    """Where the TIFF header of the EXIF block begins, or 0: walks the application segments at the head of the file."""
    length = tf.strings.length(data)

    def is_application(place: tf.Tensor) -> tf.Tensor:
        """Markers FFE0 to FFEF, and FFFE, a comment, which may stand among them."""
        marker = tf.cond(place + 10 < length, lambda: _bytes(data, place, 2), lambda: tf.constant([0, 0]))
        return tf.equal(marker[0], 0xFF) & (tf.equal(marker[1] // 16, 0xE) | tf.equal(marker[1], 0xFE))

    def is_exif(place: tf.Tensor) -> tf.Tensor:
        marker, name = tf.strings.substr(data, place, 2), tf.strings.substr(data, place + 4, len(_EXIF))
        return tf.equal(marker, _APPLICATION_1) & tf.equal(name, _EXIF)

    def go_on(place: tf.Tensor) -> tf.Tensor:
        return tf.cond(is_application(place), lambda: tf.logical_not(is_exif(place)), lambda: False)

    def skip(place: tf.Tensor) -> tuple[tf.Tensor]:
        size = _bytes(data, place + 2, 2)
        return (place + 2 + size[0] * 256 + size[1],)

    (place,) = tf.while_loop(go_on, skip, (tf.constant(2),))
    return tf.where(is_application(place), place + 10, 0)


def _tag_value(block: tf.Tensor) -> tf.Tensor:
    """The orientation entry of the first directory of a TIFF block; 1 where there is none or the block is damaged."""
    steps = tf.constant([1, 1 << 8, 1 << 16, 1 << 24])
    steps = tf.cond(tf.equal(block[0], ord("I")), lambda: steps, lambda: steps[::-1])
    short = tf.where(steps[:2] > 256, [256, 1], steps[:2])
    place = tf.reduce_sum(block[4:8] * steps)
    inside = (place >= 0) & (place + 2 <= tf.size(block))
    directory = tf.cond(inside, lambda: block[place:], lambda: tf.constant([0, 0]))
    count = tf.reduce_sum(directory[:2] * short)
    entries = directory[2 : 2 + 12 * count]
    entries = tf.reshape(entries[: 12 * (tf.size(entries) // 12)], (-1, 12))
    tags, values = tf.reduce_sum(entries[:, :2] * short, 1), tf.reduce_sum(entries[:, 8:10] * short, 1)
    value = tf.reduce_sum(tf.where(tf.equal(tags, _TAG), values, 0))
    return tf.where((value >= 1) & (value <= 8), value, 1)
