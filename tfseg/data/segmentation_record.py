"""Records of images and masks: the features of TensorFlow's segmentation models (DeepLab, TF Model Garden)."""

import io
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfseg.data.records import read_record
from tfseg.images import is_decodable, npy
from tfseg.images.decode import BROKEN
from tfseg.images.native import IMAGE_FILES
from tfseg.images.values import DTYPES

IMAGE, MASK = "image/encoded", "image/segmentation/class/encoded"
HEIGHT, WIDTH = "image/height", "image/width"
IMAGE_FORMAT, MASK_FORMAT, FILENAME = "image/format", "image/segmentation/class/format", "image/filename"
DTYPE, CHANNELS = "image/dtype", "image/channels"
RAW = "raw"
"""Format of an image whose values are stored as they are in memory, with `DTYPE` and `CHANNELS`."""

MASK_FILES = "a complete PNG, the format of masks"
"""Format of masks, for error messages."""

UNKNOWN = 0
"""Height and width of records without these two features."""

_FEATURES = {
    IMAGE: tf.io.FixedLenFeature([], tf.string),
    MASK: tf.io.FixedLenFeature([], tf.string),
    HEIGHT: tf.io.FixedLenFeature([], tf.int64, UNKNOWN),
    WIDTH: tf.io.FixedLenFeature([], tf.int64, UNKNOWN),
    IMAGE_FORMAT: tf.io.FixedLenFeature([], tf.string, ""),
    DTYPE: tf.io.FixedLenFeature([], tf.string, ""),
    CHANNELS: tf.io.FixedLenFeature([], tf.int64, UNKNOWN),
}


class SegmentationRecord(NamedTuple):
    """Content of a record: the encoded image and mask, and the size of the image in pixels.

    A raw image is returned with the header of a `.npy` file.
    """

    image: tf.Tensor
    mask: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor


def parse(data: tf.Tensor) -> SegmentationRecord:
    """Parses a serialized `tf.train.Example` inside the TensorFlow graph.

    Raises:
        tf.errors.InvalidArgumentError: If it is not one, or a feature is missing or has another type.
    """
    features = tf.io.parse_single_example(data, _FEATURES)
    image, shape = features[IMAGE], [features[name] for name in (HEIGHT, WIDTH, CHANNELS)]
    raw = tf.equal(features[IMAGE_FORMAT], RAW)
    image = tf.cond(raw, lambda: npy.with_header(image, features[DTYPE], shape), lambda: image)
    return SegmentationRecord(image, *(features[name] for name in (MASK, HEIGHT, WIDTH)))


def size_problem(image: tf.Tensor, found: SegmentationRecord) -> tf.Tensor:
    """Returns a problem if the image has another size than its record states."""
    shape = tf.shape(image, tf.int64)
    stated, sides = tf.stack([found.width, found.height]), tf.stack([shape[1], shape[0]])
    sizes = [tf.strings.format("{}x{}", (pair[0], pair[1])) for pair in (sides, stated)]
    message = tf.strings.join(["the image is ", sizes[0], f", but {WIDTH} and {HEIGHT} are ", sizes[1]])
    message = tf.strings.join([message, ". Expected the same size. Write the record again."])
    fits = tf.reduce_all(tf.equal(stated, UNKNOWN) | tf.equal(stated, sides))
    return tf.where(fits, "", message)


def serialized(
    image: bytes, mask: bytes, size: tuple[int, int], formats: tuple[str, str], filename: str, *, raw: bool = False
) -> bytes:
    """Serializes one record.

    Args:
        image: Content of the image file.
        mask: Content of the mask file, a PNG of class ids.
        size: Height and width in pixels.
        formats: Formats of image and mask, such as `jpeg` and `png`.
        filename: Name of the image file.
        raw: Boolean, whether to store the values of an image file in `.npy` format without its header.
    """
    values = np.load(io.BytesIO(image)) if raw else None
    if values is not None:
        image, formats = values.tobytes(), (RAW, formats[1])
    texts = {IMAGE_FORMAT: formats[0].encode(), MASK_FORMAT: formats[1].encode()}
    content = {IMAGE: image, MASK: mask, FILENAME: filename.encode(errors="surrogateescape"), **texts}
    features = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[each])) for name, each in content.items()}
    for name, side in zip((HEIGHT, WIDTH), size, strict=True):
        features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[side]))
    if values is not None:
        channels = values.shape[2] if values.ndim == 3 else 1
        features[CHANNELS] = tf.train.Feature(int64_list=tf.train.Int64List(value=[channels]))
        features[DTYPE] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[values.dtype.name.encode()]))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(example.SerializeToString(deterministic=True))


def record_problem(file: Path, number: int) -> str:
    """Returns the reason why TensorFlow could not load a record, or an empty string if it can be read now."""
    data, problem = read_record(file, number)
    if problem:
        return problem
    if _values(data, "", tf.string) is None:
        return "is not a tf.train.Example."
    for name, expected in _FEATURES.items():
        values = _values(data, name, expected.dtype)
        if values is None:
            return f"the feature {name} has another type. Expected {expected.dtype.name}."
        if len(values) > 1 or (not len(values) and expected.default_value is None):
            return f"the feature {name} has {len(values) or 'no'} values. Expected one."
    if problem := _raw_problem(tf.io.parse_single_example(data, _FEATURES)):
        return problem
    found = parse(tf.constant(data))
    for name, content, expected in ((IMAGE, found.image.numpy(), IMAGE_FILES), (MASK, found.mask.numpy(), MASK_FILES)):
        if not is_decodable(content):
            return f"{name} cannot be decoded ({len(content)} bytes). Expected {expected}."
    return ""


def _raw_problem(features: dict[str, tf.Tensor]) -> str:
    """Returns the reason why a raw image cannot be decoded, or an empty string; empty for images of other formats."""
    if features[IMAGE_FORMAT] != RAW:
        return ""
    dtype = os.fsdecode(features[DTYPE].numpy())
    if dtype not in DTYPES:
        return f"{DTYPE} of a raw image is {dtype!r}. Expected one of {', '.join(DTYPES)}."
    sides = [int(features[name]) for name in (HEIGHT, WIDTH, CHANNELS)]
    needed, received = math.prod(sides) * np.dtype(dtype).itemsize, len(features[IMAGE].numpy())
    if min(sides) < 1 or received != needed:
        shape = f"{HEIGHT}, {WIDTH} and {CHANNELS} are {sides[0]}, {sides[1]} and {sides[2]}"
        expected = f"{needed}, the bytes of such an image" if min(sides) > 0 else "positive sizes"
        return f"{IMAGE} is raw and has {received} bytes, and {shape} ({dtype}). Expected {expected}."
    return ""


def _values(data: bytes, name: str, dtype: tf.DType) -> Any:
    """Returns the values of a feature, none if there is no such feature; None if they are of another type.

    TensorFlow's parser also reads examples that `tf.train.Example` rejects, such as those with keys that are not UTF-8.
    """
    try:
        return tf.io.parse_single_example(data, {name: tf.io.VarLenFeature(dtype)})[name].values.numpy()
    except BROKEN:
        return None
