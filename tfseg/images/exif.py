"""EXIF orientation of a JPEG (tag 0x0112), read and undone inside the TensorFlow graph."""

import tensorflow as tf

BLOCK = 1 << 16
"""Maximum length of an EXIF block in bytes."""

_TAG = 0x0112
_TABLES = 20
"""Offset of the segment after a JFIF segment of usual length."""
_APPLICATION_1 = b"\xff\xe1"
_EXIF = b"Exif\0\0"


def orientation(data: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of a JPEG, 1 to 8; 1 if it has none."""
    return tf.cond(_has_only_jfif(data), lambda: tf.constant(1), lambda: _orientation(data))


def _has_only_jfif(data: tf.Tensor) -> tf.Tensor:
    """Returns whether tables follow the JFIF segment, as in most files without EXIF: a test of the first bytes."""
    first = tf.cast(tf.io.decode_raw(data, tf.uint8, fixed_length=_TABLES + 2), tf.int32)
    return tf.reduce_all(
        tf.equal(tf.gather(first, [2, 3, 4, 5, _TABLES, _TABLES + 1]), [0xFF, 0xE0, 0, 16, 0xFF, 0xDB])
    )


def _orientation(data: tf.Tensor) -> tf.Tensor:
    """Walks the segments of the file to its EXIF block."""
    offset = _exif_block(data)
    return tf.cond(offset > 0, lambda: _tag_value(_bytes(data, offset, BLOCK)), lambda: tf.constant(1))


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Rotates an image upright: orientations 5 to 8 transpose it, and each axis is flipped for four of the eight."""
    return tf.cond(tf.equal(orientation, 1), lambda: image, lambda: _oriented(image, orientation))


def _oriented(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    image = tf.cond(orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    top_down = tf.reduce_any(tf.equal(orientation, [3, 4, 7, 8]))
    left_right = tf.reduce_any(tf.equal(orientation, [2, 3, 6, 7]))
    image = tf.cond(top_down, lambda: tf.reverse(image, [0]), lambda: image)
    return tf.cond(left_right, lambda: tf.reverse(image, [1]), lambda: image)


def _bytes(data: tf.Tensor, offset: tf.Tensor, count: int) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(tf.strings.substr(data, offset, count), tf.uint8), tf.int32)


def _exif_block(data: tf.Tensor) -> tf.Tensor:
    """Walks the APPn segments of the file; returns the offset of the TIFF header of the EXIF block, or 0."""
    length = tf.strings.length(data)

    def is_application(offset: tf.Tensor) -> tf.Tensor:
        """Returns whether the marker is APPn (FFE0 to FFEF) or COM (FFFE): comments may be among APPn segments."""
        marker = tf.cond(offset + 10 < length, lambda: _bytes(data, offset, 2), lambda: tf.constant([0, 0]))
        return tf.equal(marker[0], 0xFF) & (tf.equal(marker[1] // 16, 0xE) | tf.equal(marker[1], 0xFE))

    def is_exif(offset: tf.Tensor) -> tf.Tensor:
        marker, name = tf.strings.substr(data, offset, 2), tf.strings.substr(data, offset + 4, len(_EXIF))
        return tf.equal(marker, _APPLICATION_1) & tf.equal(name, _EXIF)

    def not_found(offset: tf.Tensor) -> tf.Tensor:
        return tf.cond(is_application(offset), lambda: tf.logical_not(is_exif(offset)), lambda: False)

    def skip(offset: tf.Tensor) -> tuple[tf.Tensor]:
        size = _bytes(data, offset + 2, 2)
        return (offset + 2 + size[0] * 256 + size[1],)

    (offset,) = tf.while_loop(not_found, skip, (tf.constant(2),))
    return tf.where(is_application(offset), offset + 10, 0)


def _tag_value(block: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in the first directory (IFD) of a TIFF block; 1 if it is missing or invalid."""
    scales = tf.constant([1, 1 << 8, 1 << 16, 1 << 24])
    scales = tf.cond(tf.equal(block[0], ord("I")), lambda: scales, lambda: scales[::-1])
    short = tf.where(scales[:2] > 256, [256, 1], scales[:2])
    offset = tf.reduce_sum(block[4:8] * scales)
    inside = (offset >= 0) & (offset + 2 <= tf.size(block))
    directory = tf.cond(inside, lambda: block[offset:], lambda: tf.constant([0, 0]))
    count = tf.reduce_sum(directory[:2] * short)
    entries = directory[2 : 2 + 12 * count]
    entries = tf.reshape(entries[: 12 * (tf.size(entries) // 12)], (-1, 12))
    tags, values = tf.reduce_sum(entries[:, :2] * short, 1), tf.reduce_sum(entries[:, 8:10] * short, 1)
    value = tf.reduce_sum(tf.where(tf.equal(tags, _TAG), values, 0))
    return tf.where((value >= 1) & (value <= 8), value, 1)
