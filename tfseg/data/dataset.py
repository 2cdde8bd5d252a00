"""The data section put to use, for given classes and a seed: what `Data.open` gives."""

from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfseg.data.augment import View, changed
from tfseg.data.batches import ExampleStream, copied, whole
from tfseg.data.box_sampling import boxed
from tfseg.data.counting import PixelCounts, histogram, summed
from tfseg.data.examples import Examples
from tfseg.data.listings import Listings
from tfseg.data.memory import in_memory
from tfseg.data.reading import AHEAD, arrays, read
from tfseg.errors import DataError
from tfseg.labels import Labels

if TYPE_CHECKING:
    from tfseg.data.spec import Data


class Dataset:
    """Pictures and masks as training and evaluation take them. What was listed, decoded or found once is kept.

    >>> from tfseg.data import Data, Shapes
    >>> labels = Labels(names=("ground", "disc", "square"))
    >>> data = Data(source=Shapes(size=32, train=4), batch_size=2).open(labels, seed=0)
    >>> image, mask = next(iter(data.training(epochs=1)))
    >>> image.shape.as_list(), mask.shape.as_list()
    ([2, 32, 32, 3], [2, 32, 32])

    Args:
        spec: which pictures, cut and changed how, in batches of what size.
        labels: the classes.
        seed: the seed of order and augmentation.
    """

    def __init__(self, spec: "Data", labels: Labels, seed: int) -> None:
        self.spec, self.labels, self.seed = spec, labels, seed
        self._listings = Listings(spec.source, spec.root)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are."""
        return self._listings.splits

    @property
    def used_splits(self) -> tuple[str, ...]:
        """The split to train on and the one that validates, which may be the same."""
        return tuple(dict.fromkeys((self.spec.train_split, self.spec.validation_split)))

    def count(self, split: str) -> int:
        """The number of examples of a split."""
        return len(self.names(split))

    def names(self, split: str) -> tuple[str, ...]:
        """What the examples of a split are called, in file order: the names of files, or numbers."""
        return self._listings.of(split).names

    def files(self, split: str) -> tuple[tuple[str, ...], ...]:
        """The files that each example is read from, image first; none for examples that are computed."""
        return self._listings.of(split).files

    def examples(self, split: str) -> Examples:
        """The examples of a split, to be read one by one."""
        return self.spec.source.examples(self._listings.of(split), self.labels)

    @cached_property
    def training_examples(self) -> Examples:
        """What training sees, one by one: pictures, or boxes of them, which all masks are read for."""
        pictures = self.examples(self.spec.train_split)
        pictures = in_memory(pictures) if self.spec.cache else pictures
        if self.spec.boxes is None:
            return pictures
        known = frozenset(name for split in self.splits for name in self.names(split))
        return boxed(self.spec.boxes, pictures, self.labels, known)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which training sees every example once."""
        return self.stream.steps

    @cached_property
    def stream(self) -> ExampleStream:
        """The row of training examples that `training` cuts its epochs from."""
        spec, ignore = self.spec, self.labels.ignore
        change = partial(changed, ops=spec.augment, view=View(ignore, spec.crop_size, spec.fills))
        return ExampleStream(self.training_examples, spec.batch_size, self.seed, ignore, change, spec.fills)

    def training(self, *, epochs: int, initial_epoch: int = 0, batch_multiple: int = 1) -> tf.data.Dataset:
        """The batches of the epochs from `initial_epoch` up to `epochs`, one after the other.

        Each batch is `(image uint8 [batch, height, width, channels], mask int32 [batch, height, width])` and full: the
        last of an epoch is filled up with its own pictures, all of whose pixels are to be ignored. What example `i` of
        epoch `e` looks like is a function of the seed, `e` and `i` alone.

        Args:
            epochs: the epoch to stop before.
            initial_epoch: the epoch to start with.
            batch_multiple: what the batch size must be a multiple of: the number of devices.

        Raises:
            DataError: a file is missing, there is nothing to read, or the batch cannot be divided.
        """
        if self.spec.batch_size % batch_multiple:
            raise DataError(
                f"data.batch_size: expected a multiple of {batch_multiple}, the number of devices. "
                f"Received: {self.spec.batch_size}. Change the batch size or `training.strategy`."
            )
        batches = self.stream.batches(initial_epoch, 0, (epochs - initial_epoch) * self.steps_per_epoch)
        return batches.prefetch(AHEAD)

    def training_batch(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """One training batch once more, as arrays; `epoch` and `step` count from 0."""
        self._check_step(epoch, step)
        ((image, mask),) = arrays(self.stream.batches(epoch, step, 1))
        return image, mask

    def batch_names(self, epoch: int, step: int) -> tuple[str, ...]:
        """What the examples of a training batch are called, without those that only fill it up."""
        self._check_step(epoch, step)
        names = self.training_examples.listing.names
        return tuple(names[index] for index in self.stream.indices(epoch, step))

    def _check_step(self, epoch: int, step: int) -> None:
        if epoch < 0 or not 0 <= step < self.steps_per_epoch:
            raise ValueError(
                f"Expected `epoch` to be 0 or more and `step` to be from 0 to {self.steps_per_epoch - 1}. "
                f"Received: epoch={epoch}, step={step}"
            )

    def evaluation(self, split: str, *, batch_size: int = 1, replicas: int = 1) -> tf.data.Dataset:
        """All examples of a split, in file order, whole and unchanged; the last batch is filled up as in training.

        For several devices each batch is one example and copies of it, one for every further device, all of whose
        pixels are to be ignored: so every image keeps its own size, and no device is left without one.
        """
        examples, ignore = self.examples(split), self.labels.ignore
        if replicas == 1:
            return whole(examples, batch_size, ignore, self.spec.fills).prefetch(AHEAD)
        alone = whole(examples, 1, ignore)
        return alone.map(lambda image, mask: copied(image, mask, replicas, ignore)).prefetch(AHEAD)

    def pixel_counts(self, split: str) -> PixelCounts:
        """How often each class occurs in a split, of the one to train on in what training sees; reads all its masks."""
        seen = self.spec.boxes is not None and split == self.spec.train_split
        examples = self.training_examples if seen else self.examples(split)

        def load(index: tf.Tensor) -> tuple[tuple[tf.Tensor], tf.Tensor]:
            ids, fault = examples.mask(index)
            return (self.histogram(ids),), fault

        return summed([row for (row,) in arrays(read(0, examples.count, load, examples.files))])

    def class_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """What a loss weighs classes by: of the split to train on, `classes` and `pictures` of its `pixel_counts`."""
        counts = self.pixel_counts(self.spec.train_split)
        return counts.classes, counts.pictures

    def histogram(self, ids: tf.Tensor) -> tf.Tensor:
        """int32 `[classes + 1]`: the pixels of each class in a mask, and last those to ignore."""
        return histogram(ids, self.labels.count, self.labels.ignore)
