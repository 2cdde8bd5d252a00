"""What a source gives: named examples, each read by its index inside the TensorFlow graph."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tensorflow as tf

from tfseg.labels import Labels

Loaded = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
Checked = tuple[tf.Tensor, tf.Tensor]

NO_FAULT = ""
"""A fault travels as text beside the tensors, since a graph cannot catch an error; this one means all is well."""


@dataclass(frozen=True)
class Listing:
    """The examples of one split by name, in file order, before anything is read.

    Args:
        split: the split.
        names: what each example is called: a file's name, or a number.
        files: the files that each example is read from, image first; none for examples that are computed.
        passed_over: what looks like an example and is none, each as a sentence of `tfseg data check`.
    """

    split: str
    names: tuple[str, ...]
    files: tuple[tuple[str, ...], ...]
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examples:
    """The examples of one split.

    Args:
        listing: their names and files.
        load: index (int64 scalar) to `(image uint8 [height, width, channels], mask int32 [height, width], fault)`.
        mask: index to `(mask, fault)` alone, for counting.
    """

    listing: Listing
    load: Callable[[tf.Tensor], Loaded]
    mask: Callable[[tf.Tensor], Checked]

    @property
    def count(self) -> int:
        """The number of examples."""
        return len(self.listing.names)

    def files(self, index: tf.Tensor) -> tf.Tensor:
        """The files of an example, one on each line; its name where there are none."""
        named = zip(self.listing.files, self.listing.names, strict=True)
        return tf.constant([os.fsencode("\n".join(files or (name,))) for files, name in named])[index]


class Source:
    """What finds examples below a folder and reads them. One of your own needs `type` and the three functions."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("splits", "listing", "examples")
    NEEDS_ROOT: ClassVar[bool] = True
    """Whether it reads files below `data.root`."""
    channels: int = 3
    """Channels of an image."""

    def splits(self, root: Path) -> tuple[str, ...]:
        """The splits that there are."""
        raise NotImplementedError

    def listing(self, root: Path, split: str) -> Listing:
        """The examples of a split, which is one of `splits`; a DataError where something is missing."""
        raise NotImplementedError

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """The examples of a listing, to be read."""
        raise NotImplementedError


def first_fault(*faults: tf.Tensor) -> tf.Tensor:
    """The first text that is not empty, or the empty text."""
    texts = tf.stack(faults)
    return texts[tf.argmax(tf.cast(tf.strings.length(texts) > 0, tf.int32))]
