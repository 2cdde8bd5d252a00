"""Training and validation data that are passed from Python: arrays, or a `tf.data.Dataset`."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import tensorflow as tf

from tfseg.data.array_source import ArraySource
from tfseg.data.class_crop import ClassCrop
from tfseg.data.contract import AnyDataset
from tfseg.data.dataset import Dataset
from tfseg.data.pair_checks import PairCheck
from tfseg.data.sources.python import Python
from tfseg.data.streams import Log, Stream
from tfseg.errors import DataError
from tfseg.images import ImageValues
from tfseg.labels import Labels

if TYPE_CHECKING:
    from tfseg.data.spec import Data

Passed: TypeAlias = tf.data.Dataset | tuple[Any, Any]
"""Dataset of pairs of an image and a mask, or the pair of all images and all masks."""
OFF = {"boxes": None, "cache": False, "sampling": None, "augment": (), "crop": None}
"""Values of the fields of `data` that have no effect on a `tf.data.Dataset` of batches."""
EXAMPLES_ONLY = ("augment", "crop")
"""Fields that have an effect on a `tf.data.Dataset` of single examples."""


@dataclass(frozen=True)
class PassedDataset:
    """Training and validation data passed from Python, with the interface of `Dataset`.

    Args:
        trained: Training data.
        validated: Validation data.
    """

    trained: AnyDataset
    validated: AnyDataset

    @property
    def values(self) -> ImageValues:
        """Dtype and range of the images."""
        return self.trained.values

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches per epoch."""
        return self.trained.steps_per_epoch

    @property
    def annotated(self) -> None:
        """None: training masks have no sources."""
        return None

    def training(
        self, *, epochs: int, initial_epoch: int = 0, initial_step: int = 0, batch_multiple: int = 1
    ) -> tf.data.Dataset:
        """Returns the training batches; see `Dataset.training`."""
        position = {"initial_epoch": initial_epoch, "initial_step": initial_step}
        return self.trained.training(epochs=epochs, **position, batch_multiple=batch_multiple)

    def training_batch(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns a training batch as arrays."""
        return self.trained.training_batch(epoch, step)

    def batch_names(self, epoch: int, step: int) -> tuple[str, ...]:
        """Returns the names of the examples of a training batch."""
        return self.trained.batch_names(epoch, step)

    def class_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns `classes` and `image_pixels` of the counts of the training data."""
        return self.trained.class_counts()

    def skipped(self, split: str) -> int:
        """Returns 0: no example is left out."""
        return 0

    def count(self, split: str) -> int:
        """Returns the number of validation examples."""
        return self.validated.count(split)

    def names(self, split: str) -> tuple[str, ...]:
        """Returns the names of the validation examples."""
        return self.validated.names(split)

    def evaluation(self, split: str, *, batch_size: int = 1, replicas: int = 1) -> tf.data.Dataset:
        """Returns batches of the validation examples; see `Dataset.evaluation`."""
        return self.validated.evaluation(split, batch_size=batch_size, replicas=replicas)

    def native(self, split: str) -> tf.data.Dataset:
        """Returns batches of one validation example; see `Dataset.native`."""
        return self.validated.native(split)


def open_training(
    spec: "Data", labels: Labels, seed: int, channels: int, training: Passed | None, validation: Passed | None, log: Log
) -> "tuple[Data, PassedDataset]":
    """Opens data passed from Python for a training.

    Args:
        spec: The `data` section of the pipeline. Its source is not used.
        labels: Labels.
        seed: Integer, seed of shuffling and augmentation.
        channels: Integer, number of channels of the images that the network expects.
        training: Training data.
        validation: Validation data.
        log: Function that is called with lines of progress.

    Returns:
        The `data` section of the run, whose source is `python`, and the dataset.

    Raises:
        TypeError: If an argument is neither a dataset nor a pair.
        DataError: If one of the two is None, or the data are invalid.
    """
    given = {"training": training, "validation": validation}
    for argument, value in given.items():
        if value is None:
            other = "validation" if argument == "training" else "training"
            raise DataError(
                f"{argument}: received None. Expected a tf.data.Dataset or arrays, because `{other}` is given: the run "
                "records only one source. To use files as well, pass pipeline.data.open(pipeline.labels)"
                ".evaluation(split), a tf.data.Dataset."
            )
    _check_type("validation", validation)  # before the training data are read
    _check_range("training", spec)
    own = replace(spec, source=Python(channels=channels), root=None, cache=False)
    trained = open_part(training, PairCheck("training", channels, labels), own, spec.train_split, seed, log)
    if isinstance(trained, Stream):
        _check_unused(spec, trained)
        own = replace(own, batch_size=trained.batch_size)
    validated = open_part(validation, PairCheck("validation", channels, labels), own, spec.validation_split, log=log)
    counts = _elements(trained, spec.train_split), _elements(validated, spec.validation_split)
    source = Python(channels=channels, train=counts[0], val=counts[1])
    return replace(own, source=source), PassedDataset(trained, validated)


def open_part(passed: Any, check: PairCheck, spec: "Data", split: str, seed: int = 0, log: Log = print) -> AnyDataset:
    """Opens one dataset passed from Python, which has the given name as a split.

    Args:
        passed: A `tf.data.Dataset`, or a pair of images and masks.
        check: Checks of its elements, with the name of the argument.
        spec: The `data` section with crop, augmentation and batch size.
        split: Name of the split.
        seed: Integer, seed of shuffling and augmentation.
        log: Function that is called with lines of progress.
    """
    _check_type(check.argument, passed)
    _check_range(check.argument, spec)
    if isinstance(passed, tf.data.Dataset):
        return Stream(passed, check, spec, seed, log)
    return Dataset(spec, check.labels, seed, source=ArraySource(tuple(passed), check, (split,)))  # type: ignore[arg-type]


def _check_type(argument: str, value: Any) -> None:
    if not isinstance(value, tf.data.Dataset) and not (isinstance(value, tuple | list) and len(value) == 2):
        length = f" of length {len(value)}" if isinstance(value, tuple | list) else ""
        raise TypeError(
            f"Expected `{argument}` to be a tf.data.Dataset or a pair (images, masks) of arrays. Received: "
            f"{type(value).__name__}{length}"
        )


def _check_range(argument: str, spec: "Data") -> None:
    """Rejects `value_range`, which is only applied to files."""
    if spec.value_range is not None:
        raise DataError(
            f"{argument}: data from Python have values from 0 to 255, so data.value_range is not supported. Map the "
            'images yourself, and set it to null: tfseg.load(FILE, ["data.value_range=null"]).'
        )


def _check_unused(spec: "Data", stream: Stream) -> None:
    """Rejects fields without effect, since a training without its augmentation would not be noticed."""
    kept = () if stream.in_batches else EXAMPLES_ONLY
    unused = {key: off for key, off in OFF.items() if key not in kept and getattr(spec, key) != off}
    if unused:
        kind = "batches is used as it is" if stream.in_batches else "examples is read in its own order"
        overrides = [f"data.{key}={_TEXT[off]}" for key, off in unused.items()]
        raise DataError(
            f"training: a tf.data.Dataset of {kind}, so these fields have no effect: "
            f"{', '.join(f'data.{key}' for key in unused)}. Switch them off: tfseg.load(FILE, {overrides}); or pass "
            f"{'single examples (dataset.unbatch()) or ' if stream.in_batches else ''}arrays."
        )
    if isinstance(spec.crop, ClassCrop) and spec.crop.chooses:
        raise DataError(
            "data.crop: around and max_share need the class frequencies of all examples, which are not counted in a "
            f"tf.data.Dataset. Set data.crop to {spec.crop.size}, or pass arrays."
        )
    if mixing := [op.type for op in spec.augment if getattr(op, "PARTNERS", 0)]:
        raise DataError(
            f"data.augment: {mixing[0]} mixes an example with others of the epoch, which a tf.data.Dataset cannot "
            "load by index. Pass arrays, or mix in the dataset."
        )


_TEXT = {None: "null", False: "false", (): "[]"}
"""Values of `OFF` in YAML."""


def _elements(dataset: AnyDataset, split: str) -> int:
    return dataset.elements if isinstance(dataset, Stream) else dataset.count(split)
