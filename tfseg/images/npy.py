"""Decoding of images in `.npy` files inside the TensorFlow graph."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from tfseg.images.byte_strings import digits, part

MAGIC = b"\x93NUMPY"
"""First bytes of a `.npy` file."""
EIGHT_BITS = "|u1"
"""Type of uint8 values in the header."""
TYPES = {
    EIGHT_BITS: tf.uint8,
    "<i2": tf.int16,
    "<u2": tf.uint16,
    "<i4": tf.int32,
    "<f2": tf.float16,
    "<f4": tf.float32,
    "<f8": tf.float64,
}
"""Supported types, as they are written in the header, and their dtypes. All are little-endian."""

_HEADER = 118
"""Length of the header that `with_header` writes, so that the values are aligned to 64 bytes."""
_PREAMBLE = MAGIC + bytes([1, 0, _HEADER, 0])

Decoded = tuple[tf.Tensor, tf.Tensor]


class Content(NamedTuple):
    """Parts of a `.npy` file: type, shape with three axes, whether the order is Fortran's, and the values as bytes."""

    kind: tf.Tensor
    shape: tf.Tensor
    columns: tf.Tensor
    values: tf.Tensor


def decode_npy(data: tf.Tensor, channels: int) -> Decoded:
    """Decodes an image of uint8, `[height, width, ...]`, and a problem: a message if it has another type."""
    content = _content(data)
    fits = tf.equal(content.kind, EIGHT_BITS)
    blank = tf.zeros([0, 0, channels], tf.uint8)
    image = tf.cond(fits, lambda: _shaped(content, tf.uint8), lambda: blank)
    text = (
        ". Expected |u1 (uint8): set `data.value_range` to the values that become 0 and 255, or save values of 0..255 "
        "as uint8."
    )
    return image, tf.where(fits, "", tf.strings.join(["the image is a .npy array of type ", content.kind, text]))


def decode_npy_values(data: tf.Tensor, channels: int) -> Decoded:
    """Decodes an image of any of `TYPES` to float32, without changing its values, and a problem."""
    content = _content(data)
    index = tf.argmax(tf.cast(tf.equal(list(TYPES), content.kind), tf.int32), output_type=tf.int32)
    known = tf.reduce_any(tf.equal(list(TYPES), content.kind))
    branches = [_converter(content, dtype) for dtype in TYPES.values()]
    blank = tf.zeros([0, 0, channels], tf.float32)
    image = tf.switch_case(tf.where(known, index, len(TYPES)), [*branches, lambda: blank])
    text = f". Expected {', '.join(TYPES)}, as NumPy writes uint8, int16, uint16, int32 and floats: convert it."
    unknown = tf.strings.join(["the image is a .npy array of type ", content.kind, text])
    number = "the image has values that are not a number (NaN). Expected numbers: replace these values."
    nan = tf.where(tf.reduce_any(tf.math.is_nan(image)), number, "")
    return image, tf.where(known, nan, unknown)


def dtype_of(data: bytes) -> str:
    """Returns the name of the dtype of a `.npy` file that `decode_npy_values` reads."""
    return str(TYPES[_content(tf.constant(data)).kind.numpy().decode()].name)


def with_header(values: tf.Tensor, dtype: tf.Tensor, shape: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns values as the content of a `.npy` file; without values, which cannot be decoded, if they
    are not those of an image of this size and dtype.

    Args:
        values: String scalar, the values as little-endian bytes, in the order of rows, columns and channels.
        dtype: String scalar, name of the dtype.
        shape: Height, width and number of channels, int64 scalars.
    """
    same = tf.equal([known.name for known in TYPES.values()], dtype)
    index, known = tf.argmax(tf.cast(same, tf.int32)), tf.reduce_any(same)
    kind = tf.where(known, tf.gather(list(TYPES), index), dtype)
    size = tf.gather(tf.constant([each.size for each in TYPES.values()], tf.int64), index)
    needed = tf.reduce_prod(tf.stack(shape)) * size
    exact = tf.equal(tf.cast(tf.strings.length(values), tf.int64), needed)
    values = tf.where(known & ~exact, "", values)
    sides = tf.strings.reduce_join(tf.strings.as_string(tf.stack(shape)), separator=", ")
    text = ["{'descr': '", kind, "', 'fortran_order': False, 'shape': (", sides, "), }", " " * _HEADER]
    return tf.strings.join([_PREAMBLE, tf.strings.substr(tf.strings.join(text), 0, _HEADER), values])


def _converter(content: Content, dtype: tf.DType) -> Callable[[], tf.Tensor]:
    return lambda: tf.cast(_shaped(content, dtype), tf.float32)


def _content(data: tf.Tensor) -> Content:
    """Splits a file: a preamble with the length of the header, a text header, the values in C or Fortran order."""
    first = digits(data, 6, 6)
    long = first[0] > 1  # versions 2 and 3 store the header length in four bytes
    size = tf.reduce_sum(first[2:] * tf.where(long, [1, 1 << 8, 1 << 16, 1 << 24], [1, 1 << 8, 0, 0]))
    start = tf.where(long, 12, 10)
    head, values = part(data, start, size), part(data, start + size, 1 << 30)
    plain = tf.strings.regex_full_match(head, r".*'descr': '[^']*'.*\s*")
    with tf.control_dependencies([tf.debugging.Assert(plain, ["a .npy image must be an array of numbers"])]):
        kind = tf.strings.regex_replace(head, r".*'descr': '([^']*)'.*\s*", r"\1")
    columns = tf.strings.regex_full_match(head, r".*'fortran_order': True.*\s*")
    shape = tf.strings.regex_replace(head, r".*'shape': \(([0-9, ]*)\).*\s*", r"\1")
    sides = tf.strings.to_number(tf.strings.split(tf.strings.regex_replace(shape, r"[, ]+", " ")), tf.int32)
    sides = tf.ensure_shape(tf.cond(tf.size(sides) < 3, lambda: tf.concat([sides, [1]], 0), lambda: sides), [3])
    return Content(kind, sides, columns, values)


def _shaped(content: Content, dtype: tf.DType) -> tf.Tensor:
    """Returns the values as an image. Bytes after them are ignored: NumPy saves several arrays to one file."""
    count = tf.reduce_prod(tf.cast(content.shape, tf.int64))
    values = tf.io.decode_raw(content.values, dtype)
    complete = (count > 0) & (count <= tf.size(values, tf.int64))
    with tf.control_dependencies([tf.debugging.Assert(complete, ["a .npy image must be of its declared size"])]):
        values = values[:count]
    image = tf.cond(
        content.columns,
        lambda: tf.transpose(tf.reshape(values, tf.reverse(content.shape, [0])), (2, 1, 0)),
        lambda: tf.reshape(values, content.shape),
    )
    return tf.ensure_shape(image, [None, None, None])
