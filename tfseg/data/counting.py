"""How often classes occur, from the pixels of masks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf


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


def histogram(ids: tf.Tensor, classes: int, ignore: int) -> tf.Tensor:
    """int32 `[classes + 1]`: how many pixels each class has; the last number counts those to ignore."""
    ids = tf.where(tf.equal(ids, ignore), classes, tf.maximum(ids, 0))
    return tf.math.bincount(tf.reshape(ids, [-1]), minlength=classes + 1, maxlength=classes + 1)


def summed(histograms: Sequence[np.ndarray]) -> PixelCounts:
    """The counts of a split from the histogram of each mask."""
    table = np.array(histograms, np.int64)
    present = table[:, :-1] > 0
    pictures = (present * table.sum(1, keepdims=True)).sum(0)
    return PixelCounts(table[:, :-1].sum(0), pictures, present.sum(0), int(table[:, -1].sum()))
