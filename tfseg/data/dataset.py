"""Dataset of the `data` section for given labels and a seed, as returned by `Data.open`."""

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfseg.data.augment import Chain, View
from tfseg.data.batches import ExampleStream, copied, whole
from tfseg.data.box_sampling import boxed
from tfseg.data.class_crop import ClassCrop
from tfseg.data.counting import PixelCounts, histogram, summed
from tfseg.data.examples import Examples, Listing, Source, with_mask_dtype, with_values
from tfseg.data.listings import Listings
from tfseg.data.memory import in_memory
from tfseg.data.mixture import Annotation, Mixture
from tfseg.data.reading import AHEAD, arrays, read
from tfseg.errors import DataError
from tfseg.images import EIGHT_BITS, ImageValues
from tfseg.images.native import dtype_of
from tfseg.labels import Labels
from tfseg.ops.label_maps import split_source

if TYPE_CHECKING:
    from tfseg.data.spec import Data


class Dataset:
    """Batches of images and masks for training and evaluation. Listings, cached examples and boxes are computed once.

    >>> from tfseg.data import Data, Shapes
    >>> labels = Labels(names=("ground", "disc", "square"))
    >>> data = Data(source=Shapes(size=32, train=4), batch_size=2).open(labels, seed=0)
    >>> image, mask = next(iter(data.training(epochs=1)))
    >>> image.shape.as_list(), mask.shape.as_list()
    ([2, 32, 32, 3], [2, 32, 32])

    Args:
        spec: Source, crop, augmentation and batch size.
        labels: Labels.
        seed: Integer, seed of shuffling and augmentation.
        skipped: Names of the examples of a split to leave out.
        source: Data source. Defaults to that of `spec`.
    """

    def __init__(
        self,
        spec: "Data",
        labels: Labels,
        seed: int,
        skipped: Mapping[str, Collection[str]] | None = None,
        source: Source | None = None,
    ) -> None:
        self.spec, self.labels, self.seed = spec, labels, seed
        self._source, self._skipped = source or spec.source, skipped or {}
        self._listings = Listings(self._source, spec.root, skipped)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the available splits."""
        return self._listings.splits

    @property
    def used_splits(self) -> tuple[str, ...]:
        """Names of the training and the validation split, without duplicates."""
        return tuple(dict.fromkeys((self.spec.train_split, self.spec.validation_split)))

    def count(self, split: str) -> int:
        """Returns the number of examples of a split."""
        return len(self.names(split))

    def names(self, split: str) -> tuple[str, ...]:
        """Returns the names of the examples of a split in file order: file names or numbers."""
        return self._listings.of(split).names

    def files(self, split: str) -> tuple[tuple[str, ...], ...]:
        """Returns the files of each example, image first; empty for synthetic examples."""
        return self._listings.of(split).files

    def skipped(self, split: str) -> int:
        """Returns the number of examples of a split that are left out."""
        return len(self._skipped.get(split, ()))

    def listing(self, split: str) -> Listing:
        """Returns the names and files of the examples of a split."""
        return self._listings.of(split)

    def examples(self, split: str) -> Examples:
        """Returns the examples of a split, to be loaded by index."""
        return with_mask_dtype(self.decoded(self._listings.of(split)), self.labels.ignore)

    def decoded(self, listing: Listing) -> Examples:
        """Returns the examples of a listing, with masks in the dtype of the source."""
        if self.spec.value_range is None:
            return self._source.examples(listing, self.labels)
        values = ImageValues("float32", self.spec.value_range)
        return with_values(self._source.native_examples(listing, self.labels), values)

    @cached_property
    def training_examples(self) -> Examples:
        """Training examples: whole images or, with `data.boxes`, the parts of images inside boxes.

        The first access then reads all masks to find the boxes.
        """
        whole_images = self.examples(self.spec.train_split)
        whole_images = in_memory(whole_images) if self.spec.cache else whole_images
        if self.spec.boxes is None:
            return whole_images
        known = frozenset(name for split in self.splits for name in self._listings.complete(split).names)
        return boxed(self.spec.boxes, whole_images, self.labels, known)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches per epoch."""
        return self.stream.steps

    @cached_property
    def stream(self) -> ExampleStream:
        """Stream of training examples, from which `training` takes its epochs."""
        spec, ignore = self.spec, self.labels.ignore
        choice = spec.crop(self.labels, lambda: self.class_counts()[0]) if isinstance(spec.crop, ClassCrop) else None
        chain = Chain(spec.augment, View(ignore, spec.crop_size, spec.fills, self.labels), choice)
        drawn = None
        if spec.sampling is not None:
            drawn = spec.sampling(self._training_histograms, self.labels.names, spec.train_split)
        examples = self.training_examples
        return ExampleStream(examples, spec.batch_size, self.seed, ignore, chain, spec.fills, drawn, self._mixture)

    @cached_property
    def _mixture(self) -> Mixture | None:
        return self._source.mixture(self.training_examples.listing.names, self.labels)

    @property
    def annotated(self) -> Annotation | None:
        """Boolean per source and class, whether the source annotates it; None if training masks have no sources."""
        return None if self._mixture is None else self._mixture.annotated

    def training(
        self, *, epochs: int, initial_epoch: int = 0, initial_step: int = 0, batch_multiple: int = 1
    ) -> tf.data.Dataset:
        """Returns the training batches from `initial_step` of `initial_epoch` up to `epochs`.

        Each batch is `(image uint8 [batch, height, width, channels], mask int32 [batch, height, width])`; images are
        float32 of 0..255 if `value_range` is set. The last batch of an epoch is padded to the full size with copies of
        its own images, all of whose pixels are ignored. Example `i` of epoch `e` is a function of the seed, `e` and `i`
        alone. If `annotated` is not None, labeled pixels contain the number of their source;
        `tfseg.ops.label_maps.split_source` returns both.

        Args:
            epochs: Integer, final epoch (exclusive).
            initial_epoch: Integer, epoch at which to start.
            initial_step: Integer, batch of that epoch at which to start, from 0.
            batch_multiple: Integer, number of devices. The batch size must be a multiple of it.

        Raises:
            DataError: If a file is missing, there are no examples, or the batch size is not a multiple of
                `batch_multiple`.
        """
        if self.spec.batch_size % batch_multiple:
            raise DataError(
                f"data.batch_size: expected a multiple of {batch_multiple}, the number of devices. "
                f"Received: {self.spec.batch_size}. Change the batch size or `training.strategy`."
            )
        count = (epochs - initial_epoch) * self.steps_per_epoch - initial_step
        batches = self.stream.batches(initial_epoch, initial_step, count)
        return batches.prefetch(AHEAD)

    def training_batch(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the training batch at `step` of `epoch`, both counted from 0, as arrays. Masks have no sources."""
        self._check_step(epoch, step)
        ((image, mask),) = arrays(self.stream.batches(epoch, step, 1))
        return image, mask if self.annotated is None else split_source(mask)[0]

    def batch_names(self, epoch: int, step: int) -> tuple[str, ...]:
        """Returns the names of the examples of a training batch, without padding examples."""
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
        """Returns batches of all examples of a split in file order, without crop and augmentation.

        Batches have the structure of those of `training`, and the last one is padded in the same way. Within a batch,
        smaller images are padded to the largest height and width; the padding is ignored. For several devices, each
        batch consists of one example and `replicas - 1` copies of it, whose pixels are all ignored, so that images keep
        their size and every device has input.

        Args:
            split: Name of the split.
            batch_size: Integer, number of examples per batch. Has no effect with several devices.
            replicas: Integer, number of devices.
        """
        examples, ignore = self.examples(split), self.labels.ignore
        if replicas == 1:
            return whole(examples, batch_size, ignore, self.spec.fills).prefetch(AHEAD)
        single = whole(examples, 1, ignore)
        return single.map(lambda image, mask: copied(image, mask, replicas, ignore)).prefetch(AHEAD)

    def native(self, split: str) -> tf.data.Dataset:
        """Returns batches of one example like `evaluation`, with the values of the files if `value_range` is set."""
        return whole(self.native_examples(split), 1, self.labels.ignore).prefetch(AHEAD)

    def native_examples(self, split: str) -> Examples:
        """Returns the examples of a split like `examples`, with the values of the files if `value_range` is set."""
        if self.spec.value_range is None:
            return self.examples(split)
        native = self._source.native_examples(self._listings.of(split), self.labels)
        return with_mask_dtype(native, self.labels.ignore)

    @cached_property
    def values(self) -> ImageValues:
        """Values of the images; the dtype is that of the first training image.

        Raises:
            DataError: If this image cannot be decoded.
        """
        if self.spec.value_range is None:
            return EIGHT_BITS
        examples = self.examples(self.spec.train_split)

        def load(index: tf.Tensor) -> tuple[tuple[tf.Tensor], tf.Tensor]:
            _, _, problem = examples.load(index)
            return (examples.content(index)[0],), problem  # type: ignore[misc]  # has files

        ((content,),) = arrays(read(0, 1, load, examples.files))
        return ImageValues(dtype_of(bytes(content)), self.spec.value_range)

    def pixel_counts(self, split: str) -> PixelCounts:
        """Counts the pixels of each class in all masks of a split.

        For the training split, counts those in the training boxes if `boxes` is set.
        """
        if split == self.spec.train_split:
            return summed(self._training_histograms)
        return summed(self._histograms(self.examples(split)))

    @cached_property
    def _training_histograms(self) -> np.ndarray:
        """Pixels of each class in the masks of the training examples, int32 `[examples, classes + 1]`."""
        return self._histograms(self.training_examples)

    def _histograms(self, examples: Examples) -> np.ndarray:
        def load(index: tf.Tensor) -> tuple[tuple[tf.Tensor], tf.Tensor]:
            ids, problem = examples.mask(index)
            return (self.histogram(ids),), problem

        return np.array([row for (row,) in arrays(read(0, examples.count, load, examples.files))])

    def class_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns `classes` and `image_pixels` of the counts of the training split, for the class weights of a loss."""
        counts = self.pixel_counts(self.spec.train_split)
        return counts.classes, counts.image_pixels

    def histogram(self, ids: tf.Tensor) -> tf.Tensor:
        """Counts the pixels of each class in a mask, int32 `[classes + 1]`; the last count is of ignored pixels."""
        return histogram(ids, self.labels.count, self.labels.ignore)
