"""Data sources and their examples, which are loaded by index inside the TensorFlow graph."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import tensorflow as tf

from tfseg.labels import Labels

Loaded = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
Checked = tuple[tf.Tensor, tf.Tensor]

VALID = ""
"""Problem of a valid example. A graph cannot catch errors, so problems are returned as messages beside the tensors."""


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


@dataclass(frozen=True)
class Examples:
    """Examples of one split.

    Args:
        listing: Names and files of the examples.
        load: Function of an index (int64 scalar) that returns `(image, mask, problem)`: uint8
            `[height, width, channels]`, integers `[height, width]`, and a message, empty if the example is valid.
        mask: Function of an index that returns `(mask, problem)` only, for counting.
    """

    listing: Listing
    load: Callable[[tf.Tensor], Loaded]
    mask: Callable[[tf.Tensor], Checked]

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
    dtype = tf.uint8 if ignore < 256 else tf.int32  # all class ids are smaller than the ignore label

    def load(index: tf.Tensor) -> Loaded:
        image, mask, problem = examples.load(index)
        return image, tf.cast(mask, dtype), problem

    def mask(index: tf.Tensor) -> Checked:
        ids, problem = examples.mask(index)
        return tf.cast(ids, dtype), problem

    return replace(examples, load=load, mask=mask)


class Source:
    """Base class of data sources. A custom source needs `type`, `splits`, `listing` and `examples`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("splits", "listing", "examples")
    NEEDS_ROOT: ClassVar[bool] = True
    """True for sources that read files in `data.root`."""
    ONE_SIZE: ClassVar[bool] = False
    """True for sources all of whose images have one size, which is static in the graph."""
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


def first_problem(*problems: tf.Tensor) -> tf.Tensor:
    """Returns the first message that is not empty, or an empty string."""
    messages = tf.stack(problems)
    return messages[tf.argmax(tf.cast(tf.strings.length(messages) > 0, tf.int32))]
