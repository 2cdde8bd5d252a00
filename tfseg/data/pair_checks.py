"""Checks of images and masks that are passed from Python, as arrays or as elements of a `tf.data.Dataset`."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfseg.data.augment import Pair
from tfseg.data.examples import VALID, first_problem, mask_dtype
from tfseg.errors import DataError
from tfseg.labels import Labels

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class PairCheck:
    """Checks of pairs of an image and a mask, single (rank 3) or in batches (rank 4). Messages name the argument.

    Args:
        argument: Name of the Python argument.
        channels: Number of channels of the images that the network expects.
        labels: Class names and ignore label.
    """

    argument: str
    channels: int
    labels: Labels

    def check_types(self, where: str, image: Any, mask: Any, ranks: tuple[int, ...] = (3, 4)) -> None:
        """Checks rank, channels and dtypes of two arrays, tensors or specs of tensors, whose axes may be None.

        Args:
            where: Beginning of the messages: the argument, and the example if it is known.
            image: Array, tensor or `tf.TensorSpec`.
            mask: Array, tensor or `tf.TensorSpec`.
            ranks: Numbers of axes that the image may have.

        Raises:
            DataError: If they are not an image and its mask.
        """
        shape, mask_shape = tuple(image.shape), tuple(mask.shape)
        if len(shape) not in ranks or shape[-1] != self.channels:
            axes = {3: f"[height, width, {self.channels}]", 4: f"[batch, height, width, {self.channels}]"}
            raise DataError(
                f"{where}: received an image of shape {_text(shape)}. Expected "
                f"{' or '.join(axes[rank] for rank in ranks)}, since model.channels is {self.channels}."
            )
        if not _fits(mask_shape, shape[:-1]) and not _fits(mask_shape, (*shape[:-1], 1)):
            raise DataError(
                f"{where}: received a mask of shape {_text(mask_shape)} for an image of shape {_text(shape)}. Expected "
                f"class ids of shape {_text(shape[:-1])} or {_text((*shape[:-1], 1))}. For one-hot masks, take the "
                "argmax over the last axis."
            )
        kind, mask_kind = _kind(image.dtype), _kind(mask.dtype)
        if kind is None or not (kind.is_integer or kind.is_floating):
            raise DataError(
                f"{where}: received an image of dtype {_name(image.dtype)}. Expected uint8, or other integers or "
                "floats of up to 64 bits: convert it with image.astype."
            )
        if mask_kind is None or not (mask_kind.is_integer or mask_kind.is_floating or mask_kind.is_bool):
            raise DataError(
                f"{where}: received a mask of dtype {_name(mask.dtype)}. Expected integer class ids of up to 64 bits: "
                "convert it with mask.astype."
            )

    def check_scale(self, highest: float) -> None:
        """Checks the maximum of some images of a floating dtype, which are often scaled to 1.

        Raises:
            DataError: If it is at most 1, and not 0.
        """
        if 0 < highest <= 1:
            raise DataError(
                f"{self.argument}: received images with values from 0 to {highest:g}. Expected 0 to 255, as in image "
                "files, because networks of tfseg normalize pixels themselves: multiply the images by 255."
            )

    def problem(self, where: tf.Tensor, image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Returns a message about sizes or values, or an empty string. For use in graphs.

        Args:
            where: Scalar string tensor, beginning of the message.
            image: Tensor of shape `[height, width, channels]` or `[batch, height, width, channels]`.
            mask: Tensor of shape `[height, width]` or `[batch, height, width]`.
        """
        equal = tf.reduce_all(tf.equal(tf.shape(image)[:-1], tf.shape(mask)))
        texts = [where, ": received an image of shape ", _shape(image), " and a mask of shape ", _shape(mask), "."]
        advice = " Expected the same height and width, at least 1."
        size = _message(equal & (tf.size(image) > 0), lambda: [*texts, advice])
        return first_problem(size, self._pixel_problem(where, image), self._id_problem(where, mask))

    def _pixel_problem(self, where: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        if image.dtype == tf.uint8:
            return tf.constant(VALID)
        low, high = tf.reduce_min(image), tf.reduce_max(image)
        rounded = tf.round(tf.cast(image, tf.float32))  # resizing may exceed 255 by a rounding error
        inside = tf.reduce_all((rounded >= 0) & (rounded <= 255))  # not if NaN
        texts = [where, ": received an image with values from ", _number(low), " to ", _number(high)]
        return _message(inside, lambda: [*texts, ". Expected 0 to 255."])

    def _id_problem(self, where: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        ids = _comparable(mask)
        classes, ignore = (tf.constant(value, ids.dtype) for value in (self.labels.count, self.labels.ignore))
        whole = tf.equal(tf.floor(ids), ids) if ids.dtype.is_floating else True
        valid = (whole & (ids >= 0) & (ids < classes)) | tf.equal(ids, ignore)

        def texts() -> list[Any]:
            unsigned = mask.dtype == tf.uint64  # ids are int64
            first = _number(tf.boolean_mask(mask if unsigned else ids, ~valid)[0])
            expected = f". Expected 0 to {self.labels.count - 1} (labels), or {self.labels.ignore} (ignore)."
            return [where, ": received a mask with the value ", first, expected]

        return _message(tf.reduce_all(valid), texts)


def converted(image: tf.Tensor, mask: tf.Tensor, ignore: int) -> Pair:
    """Returns a valid image as uint8, rounded, and its mask in the smallest dtype for its ids."""
    image = tf.round(image) if image.dtype.is_floating else image
    return tf.cast(image, tf.uint8), tf.cast(mask, mask_dtype(ignore))


def squeezed(image: tf.Tensor, mask: tf.Tensor) -> Pair:
    """Returns the pair with a mask without a last axis of size 1."""
    return image, mask if mask.shape.rank < image.shape.rank else tf.squeeze(mask, -1)


def _kind(dtype: Any) -> tf.DType | None:
    """Returns the dtype of TensorFlow, or None if it has none, such as for dates and floats of 128 bits."""
    try:
        return tf.as_dtype(dtype)
    except TypeError:
        return None


def _name(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))


def _comparable(mask: tf.Tensor) -> tf.Tensor:
    """Returns the mask in a dtype that contains all ids and its own values."""
    if mask.dtype.is_floating:
        return tf.cast(mask, tf.float64)
    return tf.cast(mask, tf.int32 if mask.dtype.size < 4 else tf.int64)


def _message(valid: tf.Tensor, texts: Any) -> tf.Tensor:
    return tf.cond(valid, lambda: tf.constant(VALID), lambda: tf.strings.join(texts()))


def _number(value: tf.Tensor) -> tf.Tensor:
    if value.dtype.is_floating:
        return tf.strings.as_string(tf.cast(value, tf.float64), shortest=True)
    return tf.strings.as_string(value)


def _shape(tensor: tf.Tensor) -> tf.Tensor:
    return tf.strings.join(["[", tf.strings.reduce_join(tf.strings.as_string(tf.shape(tensor)), separator=", "), "]"])


def _fits(shape: Shape, expected: Shape) -> bool:
    """Returns whether two shapes may be equal; None is any size."""
    pairs = zip(shape, expected, strict=False)
    return len(shape) == len(expected) and all(None in pair or pair[0] == pair[1] for pair in pairs)


def _text(shape: Shape) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
