"""Interface of the datasets that a run trains and evaluates on."""

from typing import Protocol

import numpy as np
import tensorflow as tf

from tfseg.data.mixture import Annotation
from tfseg.images import ImageValues


class AnyDataset(Protocol):
    """Batches for training and evaluation: `Dataset` for data of a source, `PassedDataset` for data from Python.

    `Dataset` documents the methods.
    """

    @property
    def values(self) -> ImageValues:
        """Dtype and range of the images."""

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches per epoch."""

    @property
    def annotated(self) -> Annotation | None:
        """Classes that each source of a mixed dataset annotates; None if training masks have no sources."""

    def training(
        self, *, epochs: int, initial_epoch: int = 0, initial_step: int = 0, batch_multiple: int = 1
    ) -> tf.data.Dataset:
        """Returns the training batches from `initial_step` of `initial_epoch` up to `epochs`."""

    def training_batch(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns a training batch as arrays."""

    def batch_names(self, epoch: int, step: int) -> tuple[str, ...]:
        """Returns the names of the examples of a training batch."""

    def class_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the pixels of each class and those of the images that contain it, in the training data."""

    def count(self, split: str) -> int:
        """Returns the number of examples of a split."""

    def skipped(self, split: str) -> int:
        """Returns the number of examples of a split that are left out."""

    def names(self, split: str) -> tuple[str, ...]:
        """Returns the names of the examples of a split, in order."""

    def evaluation(self, split: str, *, batch_size: int = 1, replicas: int = 1) -> tf.data.Dataset:
        """Returns batches of all examples of a split, in order."""

    def native(self, split: str) -> tf.data.Dataset:
        """Returns batches of one example like `evaluation`, with the values of the files."""
