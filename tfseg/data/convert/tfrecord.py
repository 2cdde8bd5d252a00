"""Conversion of a dataset to sharded TFRecord files."""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from tfseg.atomic import atomic_file
from tfseg.data.convert.encoding import PNG_CHANNELS, encoded, image_format
from tfseg.data.convert.output import prepare
from tfseg.data.dataset import Dataset
from tfseg.data.reading import arrays, read
from tfseg.data.records import parsed, positions
from tfseg.data.segmentation_record import serialized
from tfseg.data.sources.mix import Mix
from tfseg.data.sources.tfrecord import TfRecord
from tfseg.errors import DataError, RunError, first_line
from tfseg.spec.show import dump

if TYPE_CHECKING:
    from tfseg.data.spec import Data

PER_SHARD = 1000
"""Default maximum number of examples in a file."""


@dataclass(frozen=True)
class Shard:
    """Consecutive examples of a split, from `start` to `stop` (exclusive), in one file."""

    split: str
    number: int
    count: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"{self.split}-{self.number:05d}-of-{self.count:05d}.tfrecord"


def to_tfrecord(
    data: Dataset,
    output: str | os.PathLike[str],
    *,
    splits: Sequence[str] = (),
    shards: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> "Data":
    """Writes a dataset as TFRecord files, `<split>-00000-of-00004.tfrecord`, with the features of DeepLab.

    The order of the examples stays the same, so training on the files uses the same batches as training on the dataset.
    JPEG and PNG files of images are stored unchanged, other images as PNG, and masks as gray PNG of class ids. With
    `data.value_range`, the values of `.npy` images are stored as raw bytes. Each file is written completely or
    not at all.

    Args:
        data: Dataset.
        output: Path of the folder to write.
        splits: Names of the splits to convert. Defaults to all.
        shards: Number of files per split. Defaults to one per 1000 examples.
        overwrite: Boolean, whether to delete the files of an earlier conversion.
        resume: Boolean, whether to keep the complete files of an earlier conversion of the same data.
        advance: Function that is called with the number of further examples that are written.

    Returns:
        The `data` section of a pipeline file, `Data`, that reads the files.

    Raises:
        DataError: If an example is invalid, or cannot be stored.
        RunError: If the folder cannot be written, or has other content.
        OSError: If the disk is full.
    """
    output = Path(output)
    listings = {split: data.names(split) for split in dict.fromkeys(splits or data.splits)}
    _check(data, output, next(iter(listings)))
    plan = [shard for split, names in listings.items() for shard in shards_of(split, len(names), shards)]
    conversion = {
        "files": [shard.name for shard in plan],
        "images": {split: len(names) for split, names in listings.items()},
        "sha256": _digest(data, listings),
    }
    prepare(output, conversion, overwrite=overwrite, resume=resume)
    for (_, complete), group in groupby(plan, lambda shard: (shard.split, _is_complete(output, shard))):
        if complete:
            advance(sum(shard.stop - shard.start for shard in group))
        else:
            _write(data, list(group), output, advance)
    return replace(data.spec, source=TfRecord(channels=data.spec.channels), root=output)


def shards_of(split: str, examples: int, count: int | None = None) -> list[Shard]:
    """Divides the examples of a split into files of equal sizes, up to one example.

    >>> [shard.stop - shard.start for shard in shards_of("train", 5, 2)]
    [2, 3]
    """
    count = count or -(-examples // PER_SHARD)
    edges = [number * examples // count for number in range(count + 1)]
    return [Shard(split, number, count, edges[number], edges[number + 1]) for number in range(count)]


def _check(data: Dataset, output: Path, split: str) -> None:
    """Raises DataError if the dataset cannot be converted, or not into this folder."""
    spec = data.spec
    if isinstance(spec.source, Mix):
        raise DataError(
            "data.source: mix cannot be converted, because records do not contain the dataset of an example. Convert "
            "each of data.source.sources by itself, and mix the results: {source: tfrecord, root: OUTPUT}."
        )
    if spec.root is not None and spec.root.resolve() == output.resolve():
        raise DataError(f"{output}: is `data.root`, the folder of the data. Choose another --output.")
    if spec.boxes is not None and spec.boxes.file is not None:
        raise DataError(
            f"data.boxes.file: {spec.boxes.file} names images, but records are numbered. Convert whole images: add "
            "data.boxes=null to the command."
        )
    if spec.channels not in PNG_CHANNELS and data.examples(split).content is None:
        raise DataError(
            f"data.source.channels: images of {spec.channels} channels cannot be stored as PNG. Expected 1 to 4."
        )


def _digest(data: Dataset, splits: Iterable[str]) -> str:
    """Returns a hash of what determines the content of the files, such as sizes and times of the input files."""
    found = sha256(dump(data.spec.source).encode() + dump(data.labels).encode())
    if data.spec.value_range is not None:
        found.update(b"values")  # images are stored in another way
    for split in splits:
        for name, files in zip(data.names(split), data.files(split), strict=True):
            found.update(json.dumps([split, name, files, list(map(_state, files))]).encode())
    return found.hexdigest()


def _state(file: str) -> tuple[int, int] | None:
    """Returns size and modification time of a file, or of the file of a record."""
    record = parsed(file)
    path = Path(file) if record is None else record[0]
    return (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else None


def _is_complete(output: Path, shard: Shard) -> bool:
    file = output / shard.name
    if not file.is_file():
        return False
    starts, problem = positions(file)
    return not problem and len(starts) == shard.stop - shard.start


def _write(data: Dataset, shards: Sequence[Shard], output: Path, advance: Callable[[int], None]) -> None:
    """Writes consecutive files of a split, from one dataset, whose graph takes about a second to build."""
    examples, native = data.native_examples(shards[0].split), data.spec.value_range is not None
    rows = arrays(read(shards[0].start, shards[-1].stop, encoded(examples), examples.files))
    for shard in shards:
        path, names = output / shard.name, examples.listing.names[shard.start : shard.stop]
        with atomic_file(path) as partial, _writer(partial, path) as write:
            for name, (image, mask, size) in zip(names, rows, strict=False):
                content = (bytes(image), bytes(mask))
                formats = (image_format(content[0]), image_format(content[1]))
                raw = native and formats[0] == "npy"
                write(serialized(*content, tuple(size.tolist()), formats, name, raw=raw))
                advance(1)


@contextmanager
def _writer(partial: Path, path: Path) -> Iterator[Callable[[bytes], None]]:
    """Yields a function that appends a record to the file `partial`, which will be `path`."""
    with _disk(path):
        writer = tf.io.TFRecordWriter(os.fsencode(partial))

    def write(record: bytes) -> None:
        with _disk(path):
            writer.write(record)

    try:
        yield write
    finally:
        with _disk(path):
            writer.close()


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Converts errors of TensorFlow's writer, which are not of `OSError`."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
    except tf.errors.OpError as error:
        raise RunError(f"{path}: cannot be written ({first_line(error)}). Expected a writable folder.") from error
