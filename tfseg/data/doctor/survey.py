"""One pass over a split that decodes every example once and collects all that the checks need."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.data.counting import PixelCounts
from tfseg.data.dataset import Dataset
from tfseg.data.doctor.file_heads import Heads
from tfseg.data.doctor.image_hash import NO_HASH, perceptual_hash, pixel_hash
from tfseg.data.examples import Examples
from tfseg.data.reading import Tensors, survey
from tfseg.data.statistics import channel_sums, described
from tfseg.labels import Labels

BYTE = 256
"""Minimum number of values that are counted separately in the masks."""

Progress = Callable[[], None]
"""Function that is called after every example."""


@dataclass(frozen=True)
class Problem:
    """Example that cannot be used.

    Args:
        index: Integer, index of the example.
        message: Problem, with the file.
        kind: `unreadable`, `image`, `mask`, `size` or `ids`.
    """

    index: int
    message: str
    kind: str


@dataclass
class Survey:
    """Values of the examples of a split. Memory: 24 bytes per example, besides the listing.

    Args:
        examples: Examples of the split.
        labels: Classes and ignore label.
        channels: Integer, number of channels of the images.
    """

    examples: Examples
    labels: Labels
    channels: int
    problems: list[Problem] = field(default_factory=list)
    unlabeled: list[int] = field(default_factory=list)
    """Indices of the examples all of whose pixels are ignored."""

    def __post_init__(self) -> None:
        self.heads = Heads(self.labels)
        count, self.bins = self.examples.count, max(BYTE, self.labels.ignore + 1)
        self.sizes = np.zeros((count, 2), np.int32)
        """Height and width of the images, int32 `[examples, 2]`; 0 if unknown."""
        self.hashes = np.full(count, NO_HASH, np.int64)
        """Perceptual hashes, int64 `[examples]`."""
        self.pixels = np.zeros(count, np.int64)
        """Hashes of the pixels, int64 `[examples]`."""
        self.values = np.zeros((2, self.bins + 1), np.int64)
        """Number of pixels with each value in the masks, and of masks with the value, int64 `[2, bins + 1]`; the last
        bin is of other values. Includes masks with invalid values."""
        self.sums = np.zeros((2, self.channels))
        classes = self.labels.count
        self._counts = [np.zeros(classes, np.int64) for _ in range(3)]
        self._ignored = 0

    @property
    def split(self) -> str:
        """Name of the split."""
        return self.examples.listing.split

    def counts(self) -> PixelCounts:
        """Returns the pixel counts of the valid examples."""
        classes, image_pixels, images = self._counts
        return PixelCounts(classes, image_pixels, images, self._ignored)

    def statistics(self) -> dict[str, object]:
        """Returns the statistics of the valid examples."""
        valid = np.ones(len(self.sizes), bool)
        valid[[each.index for each in self.problems]] = False
        return described(self.sizes[valid].tolist(), self.counts(), self.sums, self.labels.names)

    def add(self, index: int, tensors: Tensors | None, message: str) -> None:
        """Adds the values of an example that was loaded by `survey`."""
        files = self.examples.listing.files[index]
        if tensors is None:
            self.problems.append(Problem(index, message, "unreadable"))
            self.heads.add(index, files, None)
            return
        size, mask_size, values, sums, *hashes = (tensor.numpy() for tensor in tensors)
        self.sizes[index], (self.hashes[index], self.pixels[index]) = size, hashes
        self.values += values, values > 0
        self.heads.add(index, files, values)
        if message:
            self.problems.append(Problem(index, message, _kind(size, mask_size)))
        else:
            self._count(index, values)
            self.sums += sums

    def _count(self, index: int, values: np.ndarray) -> None:
        pixels = values[: self.labels.count]
        classes, image_pixels, images = self._counts
        classes += pixels
        image_pixels += (pixels > 0) * values.sum()
        images += pixels > 0
        self._ignored += int(values[self.labels.ignore])
        if not pixels.any():
            self.unlabeled.append(index)


def surveyed(data: Dataset, split: str, progress: Progress) -> Survey:
    """Decodes all examples of a split, each once, on all processors.

    Raises:
        DataError: If the split cannot be listed.
    """
    listing = data.listing(split)
    examples = data.decoded(listing)  # with the values of invalid masks
    result = Survey(examples, data.labels, data.spec.channels)

    def load(index: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        image, mask, problem = examples.load(index)
        values = _values(mask, result.bins)
        return (
            tf.shape(image)[:2],
            tf.shape(mask),
            values,
            *_of_image(data.spec.channels, image.dtype)(image),
        ), problem

    loaded = survey(examples.count, load, examples.files)
    for index, (tensors, message) in enumerate(loaded):
        result.add(index, tensors, message)
        progress()
    return result


def _values(mask: tf.Tensor, bins: int) -> tf.Tensor:
    """Counts the values of a mask, int32 `[bins + 1]`; the last bin is of negative and of larger values."""
    ids = tf.reshape(tf.cast(mask, tf.int32), [-1])
    ids = tf.where((ids < 0) | (ids > bins), bins, ids)
    return tf.math.bincount(ids, minlength=bins + 1, maxlength=bins + 1)


@lru_cache(maxsize=16)
def _of_image(channels: int, dtype: tf.DType) -> Any:
    """Returns `_image_values` as one graph for all datasets, so that its operations are traced once."""
    signature = [tf.TensorSpec([None, None, channels], dtype)]
    return tf.function(_image_values, input_signature=signature, autograph=False)


def _image_values(image: tf.Tensor) -> Tensors:
    """Returns channel sums, perceptual hash and pixel hash; zeros for the blank image of an unsupported file."""
    channels = image.shape[-1]

    def blank() -> Tensors:
        return tf.zeros([2, channels], tf.float64), tf.constant(NO_HASH, tf.int64), tf.constant(0, tf.int64)

    def computed() -> Tensors:
        return channel_sums(image, channels), perceptual_hash(image), pixel_hash(image)

    return tf.cond(tf.size(image) > 0, computed, blank)


def _kind(size: np.ndarray, mask_size: np.ndarray) -> str:
    if not size.all():
        return "image"
    if not mask_size.all():
        return "mask"
    return "ids" if (size == mask_size).all() else "size"
