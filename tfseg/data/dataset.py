"""`data:` of a pipeline file: which pictures, cut and changed how, in which order, in batches of what size."""

import difflib
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Annotated, NamedTuple, Self

import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator

from tfseg.context import Context
from tfseg.data.augment import FILL, Augment, Colour, View, changed
from tfseg.data.batches import Training, copied, whole
from tfseg.data.boxes import TrainingBoxes, boxed
from tfseg.data.camvid import CamVid
from tfseg.data.crops import crop_problem
from tfseg.data.examples import Examples, Listing, Source
from tfseg.data.folder import Folder
from tfseg.data.memory import in_memory
from tfseg.data.reading import AHEAD, explained, read
from tfseg.data.shapes import Shapes
from tfseg.data.voc import Voc
from tfseg.errors import DataError
from tfseg.labels import Labels, Level
from tfseg.spec.declare import ByType, Location, spec
from tfseg.spec.problems import Fault, Misfit, under

Sources = Annotated[Shapes | Folder | CamVid | Voc, ByType(contract=Source)]
Side = Annotated[int, Field(ge=1)]


class PixelCounts(NamedTuple):
    """How often classes occur in a split; arrays are int64 `[classes]`."""

    classes: np.ndarray
    """Pixels of each class."""
    pictures: np.ndarray
    """Pixels, those to ignore included, of the images that have the class at all."""
    images: np.ndarray
    """Images that have the class."""
    ignored: int
    """Pixels to ignore."""


@spec
class Data:
    """Where pictures come from and how they reach the net.

    >>> from tfseg.labels import Labels
    >>> labels = Labels(names=("ground", "disc", "square"))
    >>> data = Data(source=Shapes(size=32, train=4), batch_size=2)
    >>> image, mask = next(iter(data.training(labels, seed=0, epochs=1)))
    >>> image.shape.as_list(), mask.shape.as_list()
    ([2, 32, 32, 3], [2, 32, 32])
    """

    source: Sources = Shapes()
    """What to read: `shapes`, `folder`, `camvid`, `voc`."""
    root: Location | None = None
    """The folder that the source reads; none for `shapes`. Shipped pipelines leave it to the command line."""
    boxes: TrainingBoxes = None
    """Training sees boxes of the pictures, each an example of its own: of `objects`, or `proposals` of where they are.
    By default whole pictures. Evaluation sees whole pictures either way."""
    crop: Side | tuple[Side, Side] | None = None
    """Training sees random windows of this side, or height and width. By default whole pictures."""
    fill: Level | Annotated[tuple[Level, ...], Field(min_length=1)] = FILL
    """Pixels beyond the border of a picture, one value for all channels or one for each; [123, 117, 104] is the mean of
    ImageNet, which becomes zero in networks with Caffe's weights."""
    batch_size: Annotated[int, Field(ge=1, le=2**16)] = 8
    """Pictures in a training batch, over all devices."""
    augment: tuple[Augment, ...] = ()
    """Random changes in training, in this order; `scale` and `rotate` act before the crop, the others after it."""
    train_split: str = "train"
    """The split to train on."""
    validation_split: str = "val"
    """The split that chooses the best checkpoint."""
    cache: bool = False
    """Keeps the decoded training pictures in memory."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        kind, faults = self.source.type, []
        if not self.source.NEEDS_ROOT and self.root is not None:
            faults.append(("root", f'the source {kind} reads no files; expected none; received "{self.root}"'))
        if len(self.fills) not in (1, self.channels):
            told = f"expected one value, or {self.channels}: one for each channel of the images"
            faults.append(("fill", f"{told}; received {len(self.fills)}"))
        for place, op in enumerate(self.augment):
            if isinstance(op, Colour) and self.channels != 3 and (op.saturation or op.hue):
                told = f"saturation and hue must be 0 for images of {self.channels} channels"
                faults.append((f"augment.{place}", f"{told}; received {op.saturation} and {op.hue}"))
        if faults:
            raise Misfit(*faults)
        return self

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.source.channels

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """Height and width of the crop."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop

    @property
    def fills(self) -> tuple[int, ...]:
        """`fill` as a tuple of one value, or of one for each channel."""
        return (self.fill,) if isinstance(self.fill, int) else self.fill

    def problems(self, context: Context) -> Iterator[Fault]:
        """What does not fit the classes or the network, as (path, message)."""
        mask = getattr(self.source, "mask", None)
        yield from under(("source", "mask"), mask.problems(context) if mask is not None else ())
        if context.grid is not None and (problem := crop_problem(self.crop, context.grid)) is not None:
            yield ("crop",), problem

    @property
    def is_there(self) -> bool:
        """Whether there is something to read; a shipped pipeline cannot know where the files lie."""
        return not self.source.NEEDS_ROOT or (self.root is not None and self.root.is_dir())

    def split_problems(self) -> Iterator[Fault]:
        """Which splits the files do not have, where they are there already, as (path, message)."""
        if not self.is_there:
            return
        try:
            for field in ("train_split", "validation_split"):
                if message := self._unknown(getattr(self, field)):
                    yield (field,), message
        except DataError as error:  # the folder is there, but not laid out as the source expects
            yield ("root",), str(error)

    def splits(self) -> tuple[str, ...]:
        """The splits that there are."""
        return self._splits

    def count(self, split: str) -> int:
        """The number of examples of a split."""
        return len(self.names(split))

    def names(self, split: str) -> tuple[str, ...]:
        """What the examples of a split are called, in file order: the names of files, or numbers."""
        return self._listing(split).names

    def evaluation_names(self, split: str) -> tuple[str, ...]:
        """The names of what `evaluation` gives, in its order."""
        return self.names(split)

    def files(self, split: str) -> tuple[tuple[str, ...], ...]:
        """The files that each example is read from, image first; none for examples that are computed."""
        return self._listing(split).files

    def examples(self, split: str, labels: Labels) -> Examples:
        """The examples of a split, to be read one by one."""
        return self.source.examples(self._listing(split), labels)

    def training_examples(self, labels: Labels) -> Examples:
        """What training sees, one by one: pictures, or boxes of them. The first call reads all masks to find boxes."""
        if labels not in self._training:
            pictures = self.examples(self.train_split, labels)
            pictures = in_memory(pictures) if self.cache else pictures
            if self.boxes is not None:
                known = frozenset(name for split in self.splits() for name in self.names(split))
                pictures = boxed(self.boxes, pictures, labels, known)
            self._training[labels] = pictures
        return self._training[labels]

    def steps_per_epoch(self, labels: Labels) -> int:
        """Batches in which training sees every example once."""
        return -(-self.training_examples(labels).count // self.batch_size)

    def training(
        self, labels: Labels, *, seed: int, epochs: int, initial_epoch: int = 0, batch_multiple: int = 1
    ) -> tf.data.Dataset:
        """The batches of the epochs from `initial_epoch` up to `epochs`, one after the other.

        Each batch is `(image uint8 [batch, height, width, channels], mask int32 [batch, height, width])` and full: the
        last of an epoch is filled up with its own pictures, all of whose pixels are to be ignored. What example `i` of
        epoch `e` looks like is a function of the seed, `e` and `i` alone.

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
            raise DataError(
                f"data.batch_size: expected a multiple of {batch_multiple}, the number of devices. "
                f"Received: {self.batch_size}. Change the batch size or `training.strategy`."
            )
        training = self.stream(self.training_examples(labels), labels, seed)
        batches = training.batches(initial_epoch, 0, (epochs - initial_epoch) * training.steps)
        return batches.prefetch(AHEAD)

    def training_batch(self, labels: Labels, epoch: int, step: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """One training batch once more, as arrays; `epoch` and `step` count from 0."""
        training = self.stream(self.training_examples(labels), labels, seed)
        ((image, mask),) = arrays(training.batches(epoch, step, 1))
        return image, mask

    def batch_names(self, labels: Labels, epoch: int, step: int, *, seed: int) -> tuple[str, ...]:
        """What the examples of a training batch are called, without those that only fill it up."""
        examples = self.training_examples(labels)
        indices = self.stream(examples, labels, seed).indices(epoch, step)
        return tuple(examples.listing.names[index] for index in indices)

    def evaluation(self, split: str, labels: Labels, *, batch_size: int = 1, replicas: int = 1) -> tf.data.Dataset:
        """All examples of a split, in file order, whole and unchanged; the last batch is filled up as in training.

        For several devices each batch is one example and copies of it, one for every further device, all of whose
        pixels are to be ignored: so every image keeps its own size, and no device is left without one.
        """
        if replicas == 1:
            return whole(self.examples(split, labels), batch_size, labels.ignore, self.fills).prefetch(AHEAD)
        alone = whole(self.examples(split, labels), 1, labels.ignore)
        return alone.map(lambda image, mask: copied(image, mask, replicas, labels.ignore)).prefetch(AHEAD)

    def pixel_counts(self, split: str, labels: Labels) -> PixelCounts:
        """How often each class occurs in a split, of the one to train on in what training sees; reads all its masks."""
        seen = self.boxes is not None and split == self.train_split
        examples = self.training_examples(labels) if seen else self.examples(split, labels)

        def load(index: tf.Tensor) -> tuple[tuple[tf.Tensor], tf.Tensor]:
            ids, fault = examples.mask(index)
            return (histogram(ids, labels),), fault

        return summed([row for (row,) in arrays(read(0, examples.count, load, examples.files))])

    def stream(self, examples: Examples, labels: Labels, seed: int) -> Training:
        """The row of training examples that `training` cuts its epochs from."""
        change = partial(changed, ops=self.augment, view=View(labels.ignore, self.crop_size, self.fills))
        return Training(examples, self.batch_size, seed, labels.ignore, change, self.fills)

    @cached_property
    def _splits(self) -> tuple[str, ...]:
        if self.root is None and self.source.NEEDS_ROOT:
            raise DataError(
                f"data.root: the source {self.source.type} reads files; expected the folder where they lie; "
                "received none. Add it to the file, or data.root=FOLDER to the command"
            )
        return self.source.splits(self.root)  # type: ignore[arg-type]  # the root is there where the source needs it

    @cached_property
    def _training(self) -> dict[Labels, Examples]:
        """What training sees, once it has been found."""
        return {}

    @cached_property
    def _listings(self) -> dict[str, Listing]:
        """What was listed so far: folders are read once."""
        return {}

    def _listing(self, split: str) -> Listing:
        if message := self._unknown(split):
            raise DataError(f"{self.root}: {message}" if self.root else message)
        if split not in self._listings:
            self._listings[split] = self.source.listing(self.root, split)  # type: ignore[arg-type]
        return self._listings[split]

    def _unknown(self, split: str) -> str | None:
        """Why there is no such split, if there is none."""
        if split in self._splits:
            return None
        near = difflib.get_close_matches(split, self._splits, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        return f'no split "{split}"; expected one of: {", ".join(self._splits)}{hint}'


def histogram(ids: tf.Tensor, labels: Labels) -> tf.Tensor:
    """int32 `[classes + 1]`: how many pixels each class has; the last number counts those to ignore."""
    ids = tf.where(tf.equal(ids, labels.ignore), labels.count, tf.maximum(ids, 0))
    return tf.math.bincount(tf.reshape(ids, [-1]), minlength=labels.count + 1, maxlength=labels.count + 1)


def summed(histograms: Sequence[np.ndarray]) -> PixelCounts:
    """The counts of a split from the histogram of each mask."""
    table = np.array(histograms, np.int64)
    present = table[:, :-1] > 0
    pictures = (present * table.sum(1, keepdims=True)).sum(0)
    return PixelCounts(table[:, :-1].sum(0), pictures, present.sum(0), int(table[:, -1].sum()))


def arrays(dataset: tf.data.Dataset) -> Iterator[tuple[np.ndarray, ...]]:
    """The elements as NumPy arrays; a bad file is a DataError."""
    with explained():
        yield from dataset.as_numpy_iterator()
