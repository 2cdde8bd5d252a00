"""Statistics of a dataset, for `tfseg data stats`."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.data.counting import PixelCounts, summed
from tfseg.data.dataset import Dataset
from tfseg.data.reading import Tensors, arrays, read
from tfseg.losses.class_weights import balanced


def statistics(data: Dataset) -> dict[str, dict[str, Any]]:
    """Computes statistics of the training and the validation split, as plain values per split.

    They are the number of `images`; `sizes`: number of images per `width x height`; `pixels` and `images_with`: counts
    per class; `ignored`: number of ignored pixels; `mean` and `std` per channel, in 0..1; `median_frequency_weights`
    per class that occurs (SegNet, section 3.2: the median of all class frequencies divided by the frequency of the
    class, which is its number of pixels divided by the number of pixels of the images that contain it).
    """
    return {split: _statistics(data, split) for split in data.used_splits}


def _statistics(data: Dataset, split: str) -> dict[str, Any]:
    examples = data.examples(split)

    def load(index: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        image, mask, problem = examples.load(index)
        return (tf.shape(mask), data.histogram(mask), channel_sums(image, data.spec.channels)), problem

    sizes, histograms, sums = zip(*arrays(read(0, examples.count, load, examples.files)), strict=True)
    return described([tuple(size) for size in sizes], summed(histograms), np.sum(sums, 0), data.labels.names)


def channel_sums(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Sums the values of an image, from 0 to 1, and their squares, float64 `[2, channels]`."""
    pixels = tf.cast(tf.reshape(image, [-1, channels]), tf.float64) / 255
    return tf.stack([tf.reduce_sum(pixels, 0), tf.reduce_sum(pixels * pixels, 0)])


def described(
    sizes: Sequence[Sequence[int]], counts: PixelCounts, sums: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """Returns the statistics of a split as plain values.

    Args:
        sizes: Height and width of each image.
        counts: Pixel counts of the masks.
        sums: Sums of `channel_sums` over all images, `[2, channels]`.
        names: Class names.
    """
    mean, square = sums / max(counts.classes.sum() + counts.ignored, 1)
    weights = balanced("median_frequency", counts.classes, counts.image_pixels)
    return {
        "images": len(sizes),
        "sizes": dict(Counter(f"{width}x{height}" for height, width in sizes).most_common()),
        "pixels": dict(zip(names, counts.classes.tolist(), strict=True)),
        "images_with": dict(zip(names, counts.images.tolist(), strict=True)),
        "ignored": counts.ignored,
        "mean": [round(float(value), 4) for value in mean],
        "std": [round(float(value), 4) for value in np.sqrt(np.maximum(square - mean**2, 0))],
        "median_frequency_weights": {
            name: round(weight, 4) for name, weight in zip(names, weights, strict=True) if weight
        },
    }
