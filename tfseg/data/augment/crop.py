"""Random crop of an image and its mask."""

import tensorflow as tf

from tfseg.data.augment.contract import FILL, Pair, with_fill, without


def cropped(
    image: tf.Tensor,
    mask: tf.Tensor,
    seed: tf.Tensor,
    size: tuple[int, int],
    ignore: int,
    fill: tuple[int, ...] = (FILL,),
) -> Pair:
    """Crops a random window of `size`; smaller images are padded at the bottom and at the right."""
    image, mask = window(image, mask, tf.constant(size), tf.random.stateless_uniform([2], seed, alg="philox"))
    missing = tf.maximum(tf.constant(size) - tf.shape(mask), 0)
    below, right = [0, missing[0]], [0, missing[1]]
    image = with_fill(tf.pad(without(image, fill), [below, right, [0, 0]]), fill)
    mask = tf.pad(mask, [below, right], constant_values=ignore)
    return tf.ensure_shape(image, [*size, image.shape[-1]]), tf.ensure_shape(mask, size)


def window(image: tf.Tensor, mask: tf.Tensor, size: tf.Tensor, draws: tf.Tensor) -> Pair:
    """Returns the window of at most `size` at the position given by the two `draws` in [0, 1)."""
    full = tf.shape(mask)
    size = tf.minimum(size, full)
    start = tf.cast(draws * tf.cast(full - size + 1, tf.float32), tf.int32)
    stop = start + size
    cut = (slice(start[0], stop[0]), slice(start[1], stop[1]))
    return image[cut], mask[cut]
