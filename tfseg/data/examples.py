"""Data sources and their examples, which are loaded by index inside the TensorFlow graph."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import tensorflow as tf

from tfseg.context import Context
from tfseg.data.mixture import Mixture
from tfseg.images import ImageValues, exif
from tfseg.labels import Labels
from tfseg.spec.problems import FieldProblem, component_problems, prefixed

Loaded = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
Checked = tuple[tf.Tensor, tf.Tensor]
Content = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""Function of an index that returns the content of the image file and of the mask file, string scalars."""

Window = Callable[[tf.Tensor], tf.Tensor]
"""Function from height and width of an image, int32 `[2]`, to top, left, height and width of a window in it."""

VALID = ""
"""Problem of a valid example. A graph cannot catch errors, so problems are returned as messages beside the tensors."""


_NOT_EQUAL = ". Expected the same size. Correct either, or remove the example."
_NOT_TURNED = (
    ", the size before the EXIF rotation of the image. Images are rotated upright: rotate the mask as well, or remove "
    "the EXIF orientation from the image."
)


@dataclass(frozen=True)
class Listing:
    """Names and files of the examples of one split, in file order.

    Args:
        split: Name of the split.
        names: Name of each example: a file name or a number.
        files: Files of each example, image first; empty for synthetic examples.
        skipped: Warnings of `tfseg data check` about files that look like examples but are not used.
    """

    split: str
    names: tuple[str, ...]
    files: tuple[tuple[str, ...], ...]
    skipped: tuple[str, ...] = ()

    def chosen(self, numbers: Sequence[int]) -> "Listing":
        """Returns a listing of the examples with the given numbers. Listings with further fields choose these too."""
        names = tuple(self.names[number] for number in numbers)
        return replace(self, names=names, files=tuple(self.files[number] for number in numbers))


@dataclass(frozen=True)
class Examples:
    """Examples of one split.

    Args:
        listing: Names and files of the examples.
        load: Function of an index (int64 scalar) that returns `(image, mask, problem)`: uint8 or float32
            `[height, width, channels]`, integers `[height, width]`, and a message, empty if the example is valid.
        mask: Function of an index that returns `(mask, problem)` only, for counting.
        content: Function of an index that returns the content of its files; None for examples without files.
        load_window: Function of an index and a `Window` that loads a window of an example, faster than `load`; None if
            there is no faster way. Problems are those of the whole example.
    """

    listing: Listing
    load: Callable[[tf.Tensor], Loaded]
    mask: Callable[[tf.Tensor], Checked]
    content: Content | None = None
    load_window: Callable[[tf.Tensor, Window], Loaded] | None = field(default=None, kw_only=True)

    def loaded(self, index: tf.Tensor, window: Window | None) -> Loaded:
        """Loads an example, or at least the given window of it."""
        if window is None or self.load_window is None:
            return self.load(index)
        return self.load_window(index, window)

    @property
    def count(self) -> int:
        """Number of examples."""
        return len(self.listing.names)

    def files(self, index: tf.Tensor) -> tf.Tensor:
        """Returns the files of an example, one per line, or its name if it has no files."""
        pairs = zip(self.listing.files, self.listing.names, strict=True)
        return tf.constant([os.fsencode("\n".join(files or (name,))) for files, name in pairs])[index]


def with_mask_dtype(examples: Examples, ignore: int) -> Examples:
    """Returns examples whose masks have the smallest dtype for the ids, uint8 or int32: small masks resize faster."""
    dtype = mask_dtype(ignore)

    def load(index: tf.Tensor, window: Window | None = None) -> Loaded:
        image, mask, problem = examples.loaded(index, window)
        return image, tf.cast(mask, dtype), problem

    def mask(index: tf.Tensor) -> Checked:
        ids, problem = examples.mask(index)
        return tf.cast(ids, dtype), problem

    load_window = None if examples.load_window is None else load
    return replace(examples, load=load, mask=mask, load_window=load_window)


def with_values(examples: Examples, values: ImageValues) -> Examples:
    """Returns examples of `Source.native_examples` with images of 0..255."""

    def load(index: tf.Tensor, window: Window | None = None) -> Loaded:
        image, mask, problem = examples.loaded(index, window)
        return values.mapped(image), mask, problem

    return replace(examples, load=load, load_window=None if examples.load_window is None else load)


def mask_dtype(ignore: int) -> tf.DType:
    """Returns the smallest dtype for the ids of a mask: all class ids are smaller than the ignore label."""
    return tf.uint8 if ignore < 256 else tf.int32


class Source:
    """Base class of data sources. A custom source needs `type`, `splits`, `listing` and `examples`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("splits", "listing", "examples")
    NEEDS_ROOT: ClassVar[bool] = True
    """True for sources that read files in `data.root`."""
    READABLE: ClassVar[bool] = True
    """False for data that are passed from Python, so that nobody can read them again."""
    ONE_SIZE: ClassVar[bool] = False
    """True for sources all of whose images have one size, which is static in the graph."""
    NATIVE: ClassVar[bool] = False
    """True for sources with `native_examples`, which support `data.value_range`."""
    channels: int = 3
    """Number of channels of the images."""

    def splits(self, root: Path) -> tuple[str, ...]:
        """Returns the names of the splits in `root`."""
        raise NotImplementedError

    def listing(self, root: Path, split: str) -> Listing:
        """Lists the examples of one of `splits`.

        Raises:
            DataError: If a file is missing or the split is empty.
        """
        raise NotImplementedError

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the examples of a listing, to be loaded by index."""
        raise NotImplementedError

    def native_examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the examples of a listing with images of any dtype, as float32 with the values of their files."""
        raise NotImplementedError

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities with the labels, as pairs `(path, message)`."""
        yield from ()

    def mixture(self, names: tuple[str, ...], labels: Labels) -> Mixture | None:
        """Returns the sources of the training examples with the given names; None for a single source."""
        return None


def source_problems(source: Any, context: Context) -> Iterator[FieldProblem]:
    """Yields the incompatibilities of a source and of its mask encoding with the labels."""
    yield from component_problems(source, context)
    mask = getattr(source, "mask", None)
    yield from prefixed("mask", component_problems(mask, context) if mask is not None else ())


def first_problem(*problems: tf.Tensor) -> tf.Tensor:
    """Returns the first message that is not empty, or an empty string."""
    messages = tf.stack(problems)
    return messages[tf.argmax(tf.cast(tf.strings.length(messages) > 0, tf.int32))]


def located(where: tf.Tensor, problem: tf.Tensor) -> tf.Tensor:
    """Prefixes a problem, if any, with its file or record."""
    return tf.where(tf.equal(problem, ""), "", tf.strings.join([where, ": ", problem]))


@lru_cache(maxsize=1)
def size_problem() -> Any:
    """Returns `different_sizes` as one graph for all datasets, so that its many operations are traced once."""
    sides, text = tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.string)
    return tf.function(different_sizes, input_signature=[sides, sides, text, text], autograph=False)


def different_sizes(size: tf.Tensor, mask_size: tf.Tensor, mask: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
    """Returns a problem if image and mask differ in height or width.

    Args:
        size: Height and width of the image.
        mask_size: Height and width of the mask.
        mask: Name of the mask in the message.
        data: Content of the image file.
    """

    def problem() -> tf.Tensor:
        height, width, mask_height, mask_width = (
            tf.strings.as_string(side) for side in (*tf.unstack(size), *tf.unstack(mask_size))
        )
        parts = ["the image is ", width, "x", height, ", but its mask ", mask, " is ", mask_width, "x", mask_height]
        swapped = tf.reduce_all(tf.equal(size, mask_size[::-1]))
        return tf.strings.join([*parts, tf.where(swapped & (exif.orientation(data) > 4), _NOT_TURNED, _NOT_EQUAL)])

    return tf.cond(tf.reduce_all(tf.equal(size, mask_size)), lambda: tf.constant(VALID), problem)
