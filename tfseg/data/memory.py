"""In-memory cache of decoded examples."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfseg.data.examples import VALID, Examples, Loaded
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
    images = tf.concat([tf.reshape(image, [-1, channels]) for image, _ in pairs], 0)
    masks = tf.concat([tf.reshape(mask, [-1]) for _, mask in pairs], 0)

    def mask(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ids = masks[starts[index] : starts[index + 1]]
        return tf.ensure_shape(tf.reshape(ids, sizes[index]), [None, None]), tf.constant(VALID)

    def cached(index: tf.Tensor) -> Loaded:
        pixels = images[starts[index] : starts[index + 1]]
        image = tf.reshape(pixels, tf.concat([sizes[index], [channels]], 0))
        return tf.ensure_shape(image, [None, None, channels]), *mask(index)

    return dataclasses.replace(examples, load=cached, mask=mask)
