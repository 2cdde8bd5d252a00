"""Pixel counts of classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf


class PixelCounts(NamedTuple):
    """Pixel counts of a split; arrays are int64 `[classes]`."""

    classes: np.ndarray
    """Number of pixels of each class."""
    image_pixels: np.ndarray
    """Number of pixels, including ignored ones, of the images that contain the class."""
    images: np.ndarray
    """Number of images that contain the class."""
    ignored: int
    """Number of ignored pixels."""


def histogram(ids: tf.Tensor, classes: int, ignore: int) -> tf.Tensor:
    """Counts the pixels of each class in a mask, int32 `[classes + 1]`; the last count is of ignored pixels."""
    ids = tf.cast(ids, tf.int32)
    ids = tf.where(tf.equal(ids, ignore), classes, tf.maximum(ids, 0))
    return tf.math.bincount(tf.reshape(ids, [-1]), minlength=classes + 1, maxlength=classes + 1)


def summed(histograms: Sequence[np.ndarray] | np.ndarray) -> PixelCounts:
    """Computes the counts of a split from the histograms of its masks."""
    table = np.array(histograms, np.int64)
    present = table[:, :-1] > 0
    image_pixels = (present * table.sum(1, keepdims=True)).sum(0)
    return PixelCounts(table[:, :-1].sum(0), image_pixels, present.sum(0), int(table[:, -1].sum()))
