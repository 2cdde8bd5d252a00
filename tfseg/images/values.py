"""Values of the images that a network takes, and their mapping to 0..255."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.errors import DataError, RunError
from tfseg.labels import read_labels

Range = tuple[float, float]
"""Values that become 0 and 255."""

DTYPES = ("uint8", "int16", "uint16", "int32", "float16", "float32", "float64")
"""Names of the supported dtypes."""

SMALLEST, LARGEST = 1e-30, 1e30
"""Limits of the difference and of the values of a range: differences, and the reciprocal of this one, are float32."""


def range_problem(low: float, high: float) -> str:
    """Returns the expectation that two numbers do not fulfill as a range; empty if they do.

    >>> range_problem(0, 65535)
    ''
    """
    if not low < high:
        return "expected two increasing numbers"
    if not -LARGEST <= low < high <= LARGEST or high - low < SMALLEST:
        return f"expected numbers of up to {LARGEST:g} that differ by at least {SMALLEST:g}, for float32"
    return ""


@dataclass(frozen=True)
class ImageValues:
    """Values of images: a dtype, and the range that is mapped linearly to 0..255, clipped and not rounded.

    Networks take values of 0..255. Training, prediction and exports map in float32 by the same two operations, so that
    their values are equal in every bit.

    >>> ImageValues("uint16", (0, 51000)).array(np.array([0, 1000, 60000], np.uint16)).tolist()
    [0.0, 5.0, 255.0]

    Args:
        dtype: Name of the dtype of the images.
        value_range: Values that become 0 and 255; None for images of 8 bits, which are not changed.
    """

    dtype: str = "uint8"
    value_range: Range | None = None

    @property
    def is_whole(self) -> bool:
        """True if the values are integers, so that resized images are rounded."""
        return np.dtype(self.dtype).kind in "iu"

    def mapped(self, image: tf.Tensor) -> tf.Tensor:
        """Maps the values of a tensor to 0..255, float32."""
        image = tf.cast(image, tf.float32)
        if self.value_range is None:
            return image
        low, scale = _constants(self.value_range)
        return tf.clip_by_value((image - low) * scale, 0.0, 255.0)

    def array(self, image: np.ndarray) -> np.ndarray:
        """Maps the values of an array to 0..255, float32."""
        image = image.astype(np.float32)
        if self.value_range is None:
            return image
        low, scale = _constants(self.value_range)
        with np.errstate(over="ignore"):  # infinity is clipped
            return np.clip((image - low) * scale, np.float32(0), np.float32(255))

    def cast(self, image: np.ndarray, name: str) -> np.ndarray:
        """Converts values that were decoded as float32 to the dtype.

        Args:
            image: Float32 array of any shape.
            name: Name of the image, for the error message.

        Raises:
            DataError: If the dtype does not contain the values.
        """
        with np.errstate(invalid="ignore"):
            converted = image.astype(self.dtype)
        if not np.array_equal(converted.astype(np.float32), image):
            raise DataError(
                f"{name}: has values that {self.dtype} does not contain. Expected {self.dtype}, the dtype of the first "
                "training image: convert all images to one dtype, and train again if it was another one."
            )
        return converted

    def shown(self, image: np.ndarray) -> np.ndarray:
        """Returns an image for display, uint8."""
        return np.rint(self.array(image)).astype(np.uint8)

    def unmapped(self, image: np.ndarray) -> np.ndarray:
        """Returns an image of 0..255 in the dtype and the range of these values, clipped to what the dtype contains."""
        if self.value_range is None:
            return image
        low, high = self.value_range
        values = low + image / 255.0 * (high - low)
        limits = np.iinfo(self.dtype) if self.is_whole else np.finfo(self.dtype)
        values = np.clip(values, float(limits.min), float(limits.max))
        return (np.rint(values) if self.is_whole else values).astype(self.dtype)

    def __str__(self) -> str:
        return self.dtype if self.value_range is None else f"{self.dtype} from {list(self.value_range)}"


EIGHT_BITS = ImageValues()
"""Values of images of 8 bits."""


def values_fields(values: ImageValues) -> dict[str, Any]:
    """Returns the fields of `labels.json`; none for images of 8 bits."""
    return {} if values.value_range is None else {"dtype": values.dtype, "value_range": list(values.value_range)}


def read_values(path: Path, text: bytes) -> ImageValues:
    """Parses the fields of the content of `labels.json`.

    Raises:
        RunError: If the content is not a valid labels file.
    """
    read_labels(path, text)
    fields = json.loads(text)
    if "value_range" not in fields and "dtype" not in fields:
        return EIGHT_BITS
    dtype, value_range = fields.get("dtype"), fields.get("value_range")
    pair = isinstance(value_range, list) and len(value_range) == 2 and all(type(v) in (int, float) for v in value_range)
    if dtype not in DTYPES or not pair or range_problem(*value_range):
        raise RunError(
            f"{path}: `dtype` and `value_range` are invalid. Expected one of {', '.join(DTYPES)}, and two increasing "
            f"numbers of up to {LARGEST:g} that differ by at least {SMALLEST:g}, as `tfseg fit` writes them. Received: "
            f"{dtype!r} and {value_range!r:.100}"
        )
    return ImageValues(dtype, (float(value_range[0]), float(value_range[1])))


def _constants(value_range: Range) -> tuple[np.float32, np.float32]:
    """Returns the offset and the factor of the mapping.

    Graphs may replace a division by a product, so that a division would differ in the last bit.
    """
    low, high = value_range
    return np.float32(low), np.float32(255 / (high - low))
