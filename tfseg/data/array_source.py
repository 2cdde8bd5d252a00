"""Images and masks in memory as a data source, whose examples are loaded by index like those of files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfseg.data.examples import VALID, Checked, Examples, Listing, Loaded, Source, mask_dtype
from tfseg.data.pair_checks import PairCheck
from tfseg.errors import DataError
from tfseg.labels import Labels

Arrays = Sequence[np.ndarray] | np.ndarray
"""Images or masks: one array with the examples along its first axis, or arrays of different sizes."""


class ArraySource(Source):
    """Pair of images and masks, of which it keeps one copy: uint8 images, and masks of the smallest dtype.

    All examples are checked. While the copy is made, images that are not one uint8 array take memory for another one.

    Args:
        pair: Images and masks: arrays `[count, height, width, channels]` and `[count, height, width]` (or
            `[count, height, width, 1]`), or two sequences of arrays of different sizes.
        check: Checks of shapes and values.
        splits: Names of the splits, all of which are these examples.

    Raises:
        DataError: If an image or a mask is invalid.
    """

    type = "arrays"
    NEEDS_ROOT: ClassVar[bool] = False

    def __init__(self, pair: tuple[Any, Any], check: PairCheck, splits: Sequence[str]) -> None:
        images, masks = (_sequence(part) for part in pair)
        if len(images) != len(masks) or not len(images):
            raise DataError(
                f"{check.argument}: received {len(images)} images and {len(masks)} masks. Expected a mask for every "
                "image, and at least one."
            )
        self.channels, self._splits = check.channels, tuple(splits)
        self._names = tuple(f"{check.argument}[{index}]" for index in range(len(images)))
        _check_all(images, masks, self._names, check)
        self._sizes = np.array([image.shape[:2] for image in images], np.int64)
        with tf.device("CPU"):
            self._pixels = tf.constant(_flat(images, np.dtype(np.uint8)))
            self._ids = tf.constant(_flat(masks, np.dtype(mask_dtype(check.labels.ignore).as_numpy_dtype)))

    def splits(self, root: Path | None = None) -> tuple[str, ...]:
        """Returns the names of the splits."""
        return self._splits

    def listing(self, root: Path | None, split: str) -> Listing:
        """Lists the examples, which are named by argument and index, such as `training[3]`."""
        return Listing(split, self._names, ((),) * len(self._names))

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the examples, to be loaded by index."""
        starts = tf.constant(np.cumsum([0, *self._sizes.prod(1)]))
        sizes, equal = tf.constant(self._sizes), (self._sizes == self._sizes[0]).all()
        shape = self._sizes[0].tolist() if equal else [None, None]

        def mask(index: tf.Tensor) -> Checked:
            ids = tf.reshape(self._ids[starts[index] : starts[index + 1]], sizes[index])
            return tf.ensure_shape(ids, shape), tf.constant(VALID)

        def load(index: tf.Tensor) -> Loaded:
            pixels = self._pixels[starts[index] * self.channels : starts[index + 1] * self.channels]
            image = tf.reshape(pixels, tf.concat([sizes[index], [self.channels]], 0))
            return tf.ensure_shape(image, [*shape, self.channels]), *mask(index)

        return Examples(listing, load, mask)


def _sequence(values: Any) -> Arrays:
    """Returns one array, or a list of arrays of different sizes."""
    if not isinstance(values, list | tuple):
        values = np.atleast_1d(np.asarray(values))
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values
    return [np.asarray(value) for value in values]


def _check_all(images: Arrays, masks: Arrays, names: Sequence[str], check: PairCheck) -> None:
    problem = tf.function(check.problem, autograph=False, reduce_retracing=True)
    highest = 0.0
    for name, image, mask in zip(names, images, masks, strict=True):
        check.check_types(name, image, mask, ranks=(3,))
        if message := problem(tf.constant(name), tf.constant(image), tf.constant(mask.reshape(mask.shape[:2]))).numpy():
            raise DataError(message.decode())
        highest = max(highest, float(image.max()) if tf.as_dtype(image.dtype).is_floating else 0)
    check.check_scale(highest)


def _flat(arrays: Arrays, kind: np.dtype) -> np.ndarray:
    """Returns the values of all arrays, one after the other; rounds if `kind` is an integer dtype."""
    if isinstance(arrays, np.ndarray) and arrays.dtype == kind:
        return arrays.reshape(-1)  # a view if the array is contiguous
    flat, start = np.empty(sum(array.size for array in arrays), kind), 0
    for array in arrays:
        flat[start : start + array.size] = (np.rint(array) if array.dtype.kind == "f" else array).reshape(-1)
        start += array.size
    return flat
