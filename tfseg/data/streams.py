"""A `tf.data.Dataset` passed from Python, of examples or of batches, in its own order."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfseg.data.augment import Pair, View, augmented
from tfseg.data.batches import batched, copied, filled
from tfseg.data.counting import histogram, summed
from tfseg.data.pair_checks import PairCheck, converted, squeezed
from tfseg.data.reading import AHEAD, FIXED, PARALLEL, arrays, asserted, explained
from tfseg.errors import DataError
from tfseg.images import EIGHT_BITS, ImageValues

if TYPE_CHECKING:
    from tfseg.data.spec import Data

FIRST = {"example": 8, "batch": 2}
"""Number of elements to check before the training."""
KEYS = ("image", "mask")
_fold = tf.random.experimental.stateless_fold_in

Log = Callable[[str], None]


class Stream:
    """Elements of a `tf.data.Dataset`, as training batches or as single examples for evaluation.

    Every epoch iterates over the dataset again. Single examples are augmented, cropped and batched; the seed of an
    example is a function of the seed, the epoch and its number in the epoch. Batches are used as they are. As for
    files, a last batch that is smaller is filled up with copies of its own images, all of whose pixels are ignored.
    Images become uint8 (rounded) and masks int32.

    Args:
        dataset: Dataset with elements `(image, mask)` or `{"image": image, "mask": mask}`.
        check: Checks of shapes and values.
        spec: The `data` section: crop, augmentation and batch size.
        seed: Integer, seed of the augmentation.
        log: Function that is called with a line of progress if the elements have to be counted.

    Raises:
        DataError: If the dataset is empty or infinite, or one of the first elements is invalid.
    """

    def __init__(self, dataset: tf.data.Dataset, check: PairCheck, spec: "Data", seed: int, log: Log) -> None:
        self._check, self._spec, self._seed, self._log = check, spec, seed, log
        self._ignore = check.labels.ignore
        pairs = _pairs(dataset.with_options(FIXED), check.argument)
        self.elements = self._counted(pairs)
        pairs = _with_shapes(pairs, check).map(squeezed)
        self.in_batches = pairs.element_spec[0].shape.rank == 4
        self._kind = "batch" if self.in_batches else "example"
        numbered = pairs.apply(tf.data.experimental.assert_cardinality(self.elements)).enumerate()
        parallel = AHEAD if self.in_batches else PARALLEL
        self._numbered = numbered.map(self._valid, num_parallel_calls=parallel, deterministic=True)
        first = self._check_first(numbered)
        self.batch_size = first if self.in_batches else spec.batch_size

    @property
    def values(self) -> ImageValues:
        """Dtype and range of the images: 8 bits."""
        return EIGHT_BITS

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches per epoch."""
        return self.elements if self.in_batches else -(-self.elements // self.batch_size)

    @property
    def annotated(self) -> None:
        """None: training masks have no sources."""
        return None

    def training(
        self, *, epochs: int, initial_epoch: int = 0, initial_step: int = 0, batch_multiple: int = 1
    ) -> tf.data.Dataset:
        """Returns the training batches up to `epochs`; see `Dataset.training`. Those before `initial_step` are read."""
        if self.batch_size % batch_multiple:
            raise DataError(
                f"{self._check.argument}: received batches of {self.batch_size} images. Expected a multiple of "
                f"{batch_multiple}, the number of devices. Change the batch size or `training.strategy`."
            )
        numbers = tf.data.Dataset.range(initial_epoch, epochs)
        batches = numbers.flat_map(lambda epoch: self._epoch(epoch, self._numbered, batch_multiple))
        return batches.skip(initial_step).prefetch(AHEAD).with_options(FIXED)

    def training_batch(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the training batch at `step` of `epoch`, both counted from 0, as arrays.

        It is the batch of the training only if the dataset has the same order whenever it is iterated.
        """
        size = 1 if self.in_batches else self.batch_size
        elements = self._numbered.skip(step * size).take(size)
        ((image, mask),) = arrays(self._epoch(tf.constant(epoch, tf.int64), elements))
        return image, mask

    def batch_names(self, epoch: int, step: int) -> tuple[str, ...]:
        """Returns the names of the examples of a training batch, or the name of the batch."""
        size = 1 if self.in_batches else self.batch_size
        numbers = range(step * size, min((step + 1) * size, self.elements))
        return tuple(f"{self._check.argument} {self._kind} {number}" for number in numbers)

    def class_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns `classes` and `image_pixels` of the counts of all examples, for the class weights of a loss."""
        labels = self._check.labels
        self._log(f"{self._check.argument}: counting the pixels of each class")
        rows = self._examples().map(lambda _, mask: (histogram(mask, labels.count, labels.ignore),))
        counts = summed([row for (row,) in arrays(rows)])
        return counts.classes, counts.image_pixels

    def skipped(self, split: str) -> int:
        """Returns 0: no element is left out."""
        return 0

    def count(self, split: str) -> int:
        """Returns the number of single examples. The name of the split has no effect."""
        return self._example_count

    def names(self, split: str) -> tuple[str, ...]:
        """Returns the names of the single examples. The name of the split has no effect."""
        return tuple(f"{self._check.argument} example {number}" for number in range(self._example_count))

    def evaluation(self, split: str, *, batch_size: int = 1, replicas: int = 1) -> tf.data.Dataset:
        """Returns batches of all examples, without crop and augmentation; see `Dataset.evaluation`."""
        size = batch_size if replicas == 1 else 1
        examples = self._examples().apply(tf.data.experimental.assert_cardinality(self._example_count))
        batches = batched(examples, size, self._ignore, self._spec.fills, drop_remainder=size == 1)
        if replicas > 1:
            batches = batches.map(lambda image, mask: copied(image, mask, replicas, self._ignore))
        elif batch_size > 1:
            batches = batches.map(lambda image, mask: filled(image, mask, batch_size, self._ignore))
        return batches.prefetch(AHEAD).with_options(FIXED)

    def native(self, split: str) -> tf.data.Dataset:
        """Returns batches of one example; see `Dataset.native`."""
        return self.evaluation(split)

    def _examples(self) -> tf.data.Dataset:
        """Returns the single examples, unaugmented."""
        pairs = self._numbered.map(lambda _, *pair: pair)
        return pairs.unbatch() if self.in_batches else pairs

    @cached_property
    def _example_count(self) -> int:
        """Number of examples. Batches may have different sizes, so they are counted."""
        if not self.in_batches:
            return self.elements
        self._log(f"{self._check.argument}: counting the images of all batches")
        sizes = self._numbered.map(lambda _, image, mask: (tf.shape(mask)[0],))
        return sum(int(size) for (size,) in arrays(sizes))

    def _counted(self, pairs: tf.data.Dataset) -> int:
        """Returns the number of elements."""
        name, count = self._check.argument, int(pairs.cardinality())
        if count == tf.data.INFINITE_CARDINALITY:
            raise DataError(
                f"{name}: received an infinite tf.data.Dataset. Expected the elements of one epoch: remove .repeat(), "
                "or limit it by .take(count)."
            )
        if count == tf.data.UNKNOWN_CARDINALITY:
            self._log(f"{name}: counting the elements, since the dataset does not know their number")
            with _iterated(name):
                count = int(pairs.reduce(np.int64(0), lambda total, _: total + 1))
        if not count:
            raise DataError(f"{name}: received an empty tf.data.Dataset. Expected at least one element.")
        return count

    def _check_first(self, numbered: tf.data.Dataset) -> int:
        """Checks the first elements, and returns the size of the first axis of the first image."""
        size, highest = 0, 0.0
        with _iterated(self._check.argument):
            for number, (image, mask) in numbered.take(FIRST[self._kind]):
                size = size or image.shape[0]
                if message := self._check.problem(self._where(number), image, mask).numpy():
                    raise DataError(message.decode())
                highest = max(highest, float(tf.reduce_max(image)) if image.dtype.is_floating else 0)
        self._check.check_scale(highest)
        return size

    def _where(self, number: tf.Tensor) -> tf.Tensor:
        return tf.strings.join([f"{self._check.argument} {self._kind} ", tf.strings.as_string(number)])

    @tf.autograph.experimental.do_not_convert
    def _valid(self, number: tf.Tensor, pair: Pair) -> tuple[tf.Tensor, ...]:
        """Returns the number of an element, and its image and mask, checked and converted."""
        image, mask = asserted(self._check.problem(self._where(number), *pair), pair)
        return number, *converted(image, mask, self._ignore)

    def _epoch(self, epoch: tf.Tensor, elements: tf.data.Dataset, multiple: int = 1) -> tf.data.Dataset:
        """Returns the training batches of numbered elements."""
        if self.in_batches:
            batches = elements.map(lambda _, image, mask: (image, tf.cast(mask, tf.int32)))
        else:
            examples = elements.map(partial(self._augmented, epoch), num_parallel_calls=PARALLEL, deterministic=True)
            batches = batched(examples, self.batch_size, self._ignore, self._spec.fills, drop_remainder=False)
        return batches.map(partial(self._full, multiple))

    @tf.autograph.experimental.do_not_convert
    def _augmented(self, epoch: tf.Tensor, number: tf.Tensor, image: tf.Tensor, mask: tf.Tensor) -> Pair:
        key = _fold(tf.stack([tf.constant(self._seed, tf.int64), epoch]), number)
        view = View(self._ignore, self._spec.crop_size, self._spec.fills)
        return augmented(image, mask, key, self._spec.augment, view)

    @tf.autograph.experimental.do_not_convert
    def _full(self, multiple: int, image: tf.Tensor, mask: tf.Tensor) -> Pair:
        """Fills up a batch to the size of the first one, or, if it is larger, to a multiple of the devices."""
        count = tf.maximum(tf.shape(mask)[0], self.batch_size)
        full = filled(image, mask, -(-count // multiple) * multiple, self._ignore)
        static = image.shape[0] if self.in_batches else self.batch_size
        shapes = [static, *image.shape[1:]], [static, *mask.shape[1:]]
        return tf.ensure_shape(full[0], shapes[0]), tf.ensure_shape(full[1], shapes[1])


@contextmanager
def _iterated(argument: str) -> Iterator[None]:
    """Context manager that converts errors of the iteration over a passed dataset to a DataError."""
    try:
        with explained():
            yield
    except tf.errors.OpError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = next(
            (line for line in reversed(lines) if re.match(r"\w*(Error|Exception)\b", line)), lines[0] if lines else ""
        )
        raise DataError(
            f"{argument}: iterating over the tf.data.Dataset failed. Expected elements of one structure and no error. "
            f"Received: {cause}"
        ) from error


def _pairs(dataset: tf.data.Dataset, argument: str) -> tf.data.Dataset:
    """Returns the dataset with elements `(image, mask)`."""
    spec: Any = dataset.element_spec
    if isinstance(spec, dict) and set(spec) == set(KEYS):
        return _pairs(dataset.map(lambda element: tuple(element[key] for key in KEYS)), argument)
    if isinstance(spec, tuple) and len(spec) == 3:
        raise DataError(
            f"{argument}: received elements of three parts. Expected (image, mask): sample weights are not supported. "
            "Give pixels without influence the ignore label, and weight classes by training.loss.class_weights."
        )
    if not isinstance(spec, tuple) or len(spec) != 2 or not all(isinstance(part, tf.TensorSpec) for part in spec):
        raise DataError(
            f"{argument}: received elements {spec}. Expected dense tensors, "
            '(image, mask) or {"image": image, "mask": mask}.'
        )
    return dataset


def _with_shapes(pairs: tf.data.Dataset, check: PairCheck) -> tf.data.Dataset:
    """Returns the dataset with static ranks and channels, which datasets of Python functions do not have."""
    image, mask = (spec.shape for spec in pairs.element_spec)
    if None in (image.rank, mask.rank) or (image.rank and image[-1] is None):
        with _iterated(check.argument):
            first, first_mask = next(iter(pairs))
        check.check_types(check.argument, first, first_mask)
        shape = [*(image.as_list() if image.rank else [None] * len(first.shape))[:-1], first.shape[-1]]
        mask_shape = mask if mask.rank else [None] * len(first_mask.shape)
        pairs = pairs.map(lambda image, mask: (tf.ensure_shape(image, shape), tf.ensure_shape(mask, mask_shape)))
    check.check_types(check.argument, *pairs.element_spec)
    return pairs
