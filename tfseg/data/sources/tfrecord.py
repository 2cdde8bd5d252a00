"""TFRecord files of images and masks, loaded by index like all other data."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, cast

import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator

from tfseg.data.examples import Checked, Examples, Listing, Loaded, Source, first_problem, located, size_problem
from tfseg.data.records import positions, record, reference
from tfseg.data.segmentation_record import MASK, SegmentationRecord, parse
from tfseg.data.segmentation_record import size_problem as stated_size_problem
from tfseg.data.sources.masks import Ids, Mask
from tfseg.data.sources.shards import shards
from tfseg.errors import DataError
from tfseg.images import decode_image, decode_native
from tfseg.labels import Labels
from tfseg.spec.declare import spec
from tfseg.spec.problems import InvalidFields


@dataclass(frozen=True)
class Records(Listing):
    """Records of one split. The files of an example are the `reference` of its record.

    Args:
        shards: Paths of the TFRecord files.
        shard: Index of the file of each record, int64 `[records]`.
        position: Position of the first byte of each record in its file, int64 `[records]`.
        number: Number of each record in its file, from 0, int64 `[records]`.
    """

    shards: tuple[str, ...] = ()
    shard: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), compare=False)
    position: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), compare=False)
    number: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), compare=False)

    def chosen(self, numbers: Sequence[int]) -> "Records":
        """Returns a listing of the records with the given numbers."""
        kept, records = np.asarray(numbers, np.int64), cast(Records, super().chosen(numbers))
        return replace(records, shard=self.shard[kept], position=self.position[kept], number=self.number[kept])


@spec
class TfRecord(Source):
    """TFRecord files with the features of DeepLab and of TF Model Garden: `image/encoded`, `image/height`,
    `image/width`, `image/segmentation/class/encoded`. Examples are named after their file and their number in it.
    """

    NATIVE: ClassVar[bool] = True
    type: Literal["tfrecord"] = "tfrecord"
    pattern: str = "{split}-*.tfrecord*"
    """Path pattern of the files, relative to `data.root`: `{split}` is the split, `*` any text without `/`."""
    mask: Mask = Ids()
    """Encoding of classes in the masks."""
    channels: Annotated[int, Field(ge=1)] = 3
    """Number of channels of the images."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pattern.count("{split}") != 1:
            message = f"expected {{split}} once in the pattern; received {self.pattern!r}"
            raise InvalidFields((("pattern",), message))
        return self

    def splits(self, root: Path) -> tuple[str, ...]:
        """Returns the names of the splits in `root`."""
        return tuple(sorted(self._shards(root)))

    def listing(self, root: Path, split: str) -> Records:
        """Lists the records of a split, by the lengths in its files; no record is read.

        Raises:
            DataError: If the split has no records, or a file is compressed, cut off or corrupt.
        """
        files = self._shards(root)[split]
        found = [_positions(file) for file in files]
        counts = [len(each) for each in found]
        if not sum(counts):
            raise DataError(
                f"{root}: the split `{split}` is empty: its {len(files)} files have no record. Expected records in "
                f"`{self.pattern.replace('{split}', split)}`. Write the files again."
            )
        stems = [file.relative_to(root).as_posix().removesuffix(".tfrecord") for file in files]
        names = (f"{stem}-{number:06d}" for stem, count in zip(stems, counts, strict=True) for number in range(count))
        paths = (reference(str(file), i) for file, count in zip(files, counts, strict=True) for i in range(count))
        return Records(
            split,
            tuple(names),
            tuple((path,) for path in paths),
            shards=tuple(map(str, files)),
            shard=np.repeat(np.arange(len(files)), counts),
            position=np.concatenate(found),
            number=np.concatenate([np.arange(count) for count in counts]),
        )

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the records of a listing, to be loaded by index."""
        return self._examples(listing, labels, decode_image)

    def native_examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the records with images of any dtype, as float32 with the values of their files."""
        return self._examples(listing, labels, decode_native)

    def _examples(self, listing: Listing, labels: Labels, decode: Callable[[tf.Tensor, int], Checked]) -> Examples:
        records = cast(Records, listing)  # of `listing`
        files = tf.constant(list(map(os.fsencode, records.shards)))
        shard, position, numbers = map(tf.constant, (records.shard, records.position, records.number))
        decode_mask = self.mask(labels)

        def where(index: tf.Tensor) -> tf.Tensor:
            return tf.strings.join([files[shard[index]], ": record ", tf.strings.as_string(numbers[index])])

        def found(index: tf.Tensor) -> SegmentationRecord:
            return parse(record(files[shard[index]], position[index]))

        def content(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return found(index)[:2]

        def mask(index: tf.Tensor) -> Checked:
            ids, problem = decode_mask(found(index).mask)
            return ids, located(where(index), problem)

        def load(index: tf.Tensor) -> Loaded:
            encoded = found(index)
            image, problem = decode(encoded.image, self.channels)
            ids, mask_problem = decode_mask(encoded.mask)
            size, mask_size = tf.shape(image)[:2], tf.shape(ids)
            different = size_problem()(size, mask_size, tf.constant(MASK), encoded.image)
            sizes = (stated_size_problem(image, encoded), different)
            return image, ids, located(where(index), first_problem(problem, mask_problem, *sizes))

        return Examples(listing, load, mask, content)

    def _shards(self, root: Path) -> dict[str, list[Path]]:
        if not root.is_dir():
            raise DataError(f"{root}: no such folder. Correct `data.root`, or put the data there.")
        found = shards(root, self.pattern)
        if not found:
            raise DataError(
                f"{root}: contains no TFRecord file that matches `{self.pattern}`. Correct `data.source.pattern` or "
                "`data.root`."
            )
        return found


def _positions(file: Path) -> np.ndarray:
    """Returns the positions of the records of a file.

    Raises:
        DataError: If the file has a problem.
    """
    found, problem = positions(file)
    if problem:
        raise DataError(f"{file}: {problem} Restore the file, or write it again.")
    return found
