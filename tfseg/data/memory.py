"""In-memory cache of decoded examples."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfseg.data.examples import VALID, Checked, Examples, Loaded, Window
from tfseg.data.reading import explained, read


def in_memory(examples: Examples) -> Examples:
    """Decodes all examples once, and returns `Examples` that load them from memory, with unchanged dtypes."""

    def load(index: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
        image, mask, problem = examples.load(index)
        return (image, mask), problem

    with explained():
        pairs = list(read(0, examples.count, load, examples.files))
    channels = pairs[0][0].shape[-1]
    sizes = tf.constant([mask.shape.as_list() for _, mask in pairs])
    starts = tf.constant(np.cumsum([0, *(int(np.prod(mask.shape)) for _, mask in pairs)]))
    images = tf.concat([tf.reshape(image, [-1]) for image, _ in pairs], 0)  # slices of vectors are the fastest
    masks = tf.concat([tf.reshape(mask, [-1]) for _, mask in pairs], 0)

    def part(values: tf.Tensor, index: tf.Tensor, sides: tf.Tensor, depth: int) -> tf.Tensor:
        """Returns a window as `[height, width, depth]`."""
        top, left, height, width = tf.unstack(sides)
        row = tf.cast(sizes[index][1] * depth, tf.int64)
        first = starts[index] * depth + tf.cast(top, tf.int64) * row
        rows = values[first : first + tf.cast(height, tf.int64) * row]
        return tf.reshape(rows, [height, sizes[index][1], depth])[:, left : left + width]

    def whole(size: tf.Tensor) -> tf.Tensor:
        return tf.concat([[0, 0], size], 0)

    def mask(index: tf.Tensor) -> Checked:
        return part(masks, index, whole(sizes[index]), 1)[:, :, 0], tf.constant(VALID)

    def cached(index: tf.Tensor, window: Window = whole) -> Loaded:
        sides = window(sizes[index])
        return part(images, index, sides, channels), part(masks, index, sides, 1)[:, :, 0], tf.constant(VALID)

    return dataclasses.replace(examples, load=cached, mask=mask, load_window=cached)
