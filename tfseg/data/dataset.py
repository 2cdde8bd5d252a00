"""`data:` of a pipeline file: which pictures, cut and changed how, in which order, in batches of what size."""

import difflib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator

from tfseg.data.augment import FILL, Augment, Colour, View, cropped
from tfseg.data.camvid import CamVid
from tfseg.data.examples import Examples
from tfseg.data.folder import Folder
from tfseg.data.memory import in_memory
from tfseg.data.reading import explained, read
from tfseg.data.shapes import Shapes
from tfseg.data.voc import Voc
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.spec.declare import BY_TYPE, Location, spec

Source = Annotated[Shapes | Folder | CamVid | Voc, BY_TYPE]
Side = Annotated[int, Field(ge=1)]

_CROP = 1 << 20
"""The number of the crop's own stream of random numbers; the ops of `augment` count from 0."""


class PixelCounts(NamedTuple):
    """How often classes occur in a split, int64."""

    classes: np.ndarray
    """Pixels of each class."""
    pictures: np.ndarray
    """Pixels (those to ignore included) of the images that have the class at all."""
    images: np.ndarray
    """Images that have the class."""
    ignored: int
    """Pixels to ignore."""


@spec
class Data:
    """Where pictures come from and how they reach the net."""

    source: Source = Shapes()
    """What to read: `shapes`, `folder`, `camvid`, `voc`."""
    root: Location | None = None
    """The folder that the source reads; none for `shapes`."""
    crop: Side | tuple[Side, Side] | None = None
    """Training sees random windows of this side, or height and width. By default whole pictures."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Pictures in a training batch, over all devices."""
    augment: tuple[Augment, ...] = ()
    """Random changes in training, in this order; those that need the surroundings (`scale`, `rotate`) act before the crop."""
    train_split: str = "train"
    """The split to train on."""
    validation_split: str = "val"
    """The split that chooses the best checkpoint."""
    cache: bool = False
    """Keeps the decoded training pictures in memory."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        kind = self.source.type
        if self.source.NEEDS_ROOT and self.root is None:
            raise ValueError(f"the source `{kind}` reads files, but root is missing. Add `root: path/of/the/data`")
        if not self.source.NEEDS_ROOT and self.root is not None:
            raise ValueError(f"the source `{kind}` reads no files. Take root out. Received: root={str(self.root)!r}")
        for op in self.augment:
            if isinstance(op, Colour) and self.channels != 3 and (op.saturation or op.hue):
                told = "Set them to 0, or use an image of 3 channels"
                raise ValueError(f"colour: saturation and hue need 3 channels, the source has {self.channels}. {told}")
        return self

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.source.channels

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """Height and width of the crop."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop

    def splits(self) -> tuple[str, ...]:
        """The splits that there are."""
        return tuple(self.source.splits(self.root))

    def count(self, split: str) -> int:
        """The number of examples of a split."""
        return len(self.names(split))

    def names(self, split: str) -> tuple[str, ...]:
        """What the examples of a split are called, in file order: the stems of files, or numbers."""
        return self.examples(split, _ANY_LABELS).names

    def files(self, split: str) -> tuple[tuple[str, ...], ...]:
        """The files that each example is read from, image first; empty for examples that are computed."""
        return self.examples(split, _ANY_LABELS).files

    def examples(self, split: str, labels: Labels) -> Examples:
        """The examples of a split, read one by one."""
        splits = self.splits()
        if split not in splits:
            near = difflib.get_close_matches(split, splits, 1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            place = f"{self.root}: " if self.root else ""
            raise DataError(f"{place}there is no split `{split}`.{hint} Splits here: {', '.join(splits) or 'none'}.")
        return self._examples(split, labels)

    def steps_per_epoch(self) -> int:
        """Batches in which training sees every example once."""
        return -(-self.count(self.train_split) // self.batch_size)

    def training(
        self, labels: Labels, *, seed: int, epochs: int, initial_epoch: int = 0, batch_multiple: int = 1
    ) -> tf.data.Dataset:
        """Batches for the epochs from `initial_epoch` up to `epochs`, one after the other.

        Each batch is `(image uint8 [batch, height, width, channels], mask int32 [batch, height, width])` and full: the last
        of an epoch is filled up with its own pictures, all of whose pixels are to be ignored. What example `i` of epoch `e`
        looks like is a function of the seed, `e` and `i` alone.

        Args:
            labels: the classes.
            seed: the seed of order and augmentation.
            epochs: the epoch to stop before.
            initial_epoch: the epoch to start with.
            batch_multiple: what the batch size must be a multiple of: the number of devices.

        Raises:
            DataError: a file is missing, there is nothing to read, or the batch cannot be divided.
        """
        if self.batch_size % batch_multiple:
            told = f"must be a multiple of the {batch_multiple} devices"
            raise DataError(f"data.batch_size: {told}. Received: {self.batch_size}")
        examples = self._training_examples(labels)
        size = self.steps_per_epoch() * self.batch_size
        return self._batches(examples, labels, seed, initial_epoch * size, epochs * size).prefetch(tf.data.AUTOTUNE)

    def training_batch(self, labels: Labels, epoch: int, step: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """One training batch once more, as arrays; `epoch` and `step` count from 0."""
        start = (epoch * self.steps_per_epoch() + step) * self.batch_size
        examples = self.examples(self.train_split, labels)
        (batch,) = _arrays(self._batches(examples, labels, seed, start, start + self.batch_size))
        return batch

    def batch_names(self, epoch: int, step: int, *, seed: int) -> tuple[str, ...]:
        """What the examples of a training batch are called, without those that only fill it up."""
        names = self.names(self.train_split)
        positions = tf.range(step * self.batch_size, min((step + 1) * self.batch_size, len(names)), dtype=tf.int64)
        order = _shuffled(positions, len(names), seed, tf.constant(epoch, tf.int64))
        return tuple(names[index] for index in order.numpy())

    def evaluation(self, split: str, labels: Labels, *, batch_size: int = 1) -> tf.data.Dataset:
        """All examples of a split, in file order, whole and unchanged; the last batch is filled up as in training."""
        examples = self.examples(split, labels)
        steps = -(-examples.count // batch_size)

        def load(position: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
            index, filler = _filled(position, examples.count, batch_size)
            image, mask, fault = examples.load(index)
            return (image, _ignored_if(filler, mask, labels.ignore)), fault

        dataset = read(0, steps * batch_size, load, lambda position: _files(examples, position % examples.count))
        return _batched(dataset, batch_size, labels.ignore).prefetch(tf.data.AUTOTUNE)

    def evaluation_names(self, split: str) -> tuple[str, ...]:
        """The names of what `evaluation` gives, in its order."""
        return self.names(split)

    def pixel_counts(self, split: str, labels: Labels) -> PixelCounts:
        """How often each class occurs in a split; reads all its masks."""
        examples = self.examples(split, labels)

        def load(index: tf.Tensor) -> tuple[tuple[tf.Tensor], tf.Tensor]:
            ids, fault = examples.mask(index)
            ids = tf.where(tf.equal(ids, labels.ignore), labels.count, ids)
            return (tf.math.bincount(tf.reshape(tf.maximum(ids, 0), [-1]), minlength=labels.count + 1),), fault

        counted = read(0, examples.count, load, lambda index: _files(examples, index))
        table = np.array([row for (row,) in _arrays(counted)], np.int64)
        classes, present = table[:, : labels.count], table[:, : labels.count] > 0
        pictures = (present * table.sum(1, keepdims=True)).sum(0)
        return PixelCounts(classes.sum(0), pictures, present.sum(0), int(table[:, labels.count].sum()))

    def class_counts(self, split: str, labels: Labels) -> np.ndarray:
        """int64 `[classes]`: the pixels of each class in a split."""
        return self.pixel_counts(split, labels).classes

    def _batches(self, examples: Examples, labels: Labels, seed: int, start: int, stop: int) -> tf.data.Dataset:
        """The batches of the examples number `start` up to `stop`, counted on through all epochs."""
        size = -(-examples.count // self.batch_size) * self.batch_size

        def place(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            epoch = number // size
            position, filler = _filled(number % size, examples.count, self.batch_size)
            return epoch, _shuffled(position, examples.count, seed, epoch), filler

        def load(number: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
            epoch, index, filler = place(number)
            image, mask, fault = examples.load(index)
            key = tf.random.experimental.stateless_fold_in(tf.stack([tf.constant(seed, tf.int64), epoch]), index)
            image, mask = tf.cond(
                tf.equal(fault, ""), lambda: self._changed(image, mask, key, labels.ignore), lambda: self._blank()
            )
            return (image, _ignored_if(filler, mask, labels.ignore)), fault

        dataset = read(start, stop, load, lambda number: _files(examples, place(number)[1]))
        return _batched(dataset, self.batch_size, labels.ignore)

    def _changed(self, image: tf.Tensor, mask: tf.Tensor, key: tf.Tensor, ignore: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Augments and crops; every op has its own seed, so that one more op leaves the draws of the others as they were."""
        view = View(ignore, self.crop_size)
        numbered = list(enumerate(self.augment))
        for number, op in [(number, op) for number, op in numbered if op.BEFORE_CROP]:
            image, mask = op(image, mask, tf.random.experimental.stateless_fold_in(key, number), view)
        if view.crop is not None:
            seed = tf.random.experimental.stateless_fold_in(key, _CROP)
            image, mask = cropped(image, mask, seed, view.crop, ignore)
        for number, op in [(number, op) for number, op in numbered if not op.BEFORE_CROP]:
            image, mask = op(image, mask, tf.random.experimental.stateless_fold_in(key, number), view)
        return image, mask

    def _blank(self) -> tuple[tf.Tensor, tf.Tensor]:
        size = self.crop_size or (0, 0)
        return tf.zeros([*size, self.channels], tf.uint8), tf.zeros(size, tf.int32)

    def _training_examples(self, labels: Labels) -> Examples:
        examples = self.examples(self.train_split, labels)
        return in_memory(examples) if self.cache else examples

    def _examples(self, split: str, labels: Labels) -> Examples:
        return self.source.examples(self.root, split, labels)


_ANY_LABELS = Labels(names=("0", "1"))
"""For questions whose answer does not depend on the classes."""


def _filled(position: tf.Tensor, count: int, batch: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the picture for a position comes from, and whether it only fills up the last batch, with that batch's own."""
    last = (count - 1) // batch * batch
    filler = position >= count
    return tf.where(filler, last + (position - count) % (count - last), position), filler


def _shuffled(position: tf.Tensor, count: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Which example stands at a position of an epoch: a permutation that is computed, not stored."""
    key = tf.stack([tf.constant(seed, tf.int64), epoch])
    return tf.random.experimental.index_shuffle(position, key, tf.constant(count - 1, tf.int64))


def _ignored_if(filler: tf.Tensor, mask: tf.Tensor, ignore: int) -> tf.Tensor:
    return tf.ensure_shape(tf.cond(filler, lambda: tf.fill(tf.shape(mask), ignore), lambda: mask), mask.shape)


def _files(examples: Examples, index: tf.Tensor) -> tf.Tensor:
    return tf.constant(["\n".join(files) for files in examples.files])[index]


def _batched(dataset: tf.data.Dataset, batch_size: int, ignore: int) -> tf.data.Dataset:
    """Full batches; pictures of different sizes are filled up at the bottom and at the right."""
    if all(spec.shape.is_fully_defined() for spec in dataset.element_spec):
        return dataset.batch(batch_size, drop_remainder=True)
    fill = (tf.constant(FILL, tf.uint8), tf.constant(ignore, tf.int32))
    return dataset.padded_batch(batch_size, padding_values=fill, drop_remainder=True)


def _arrays(dataset: tf.data.Dataset) -> Iterator[tuple[np.ndarray, ...]]:
    """The elements as NumPy arrays; a bad file is a DataError."""
    with explained():
        yield from dataset.as_numpy_iterator()
