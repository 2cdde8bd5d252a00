"""Random crop of an image and its mask."""

import tensorflow as tf

from tfseg.data.augment.contract import FILL, Pair, padded
from tfseg.images import cut


def cropped(
    image: tf.Tensor,
    mask: tf.Tensor,
    seed: tf.Tensor,
    size: tuple[int, int],
    ignore: int,
    fill: tuple[int, ...] = (FILL,),
) -> Pair:
    """Crops a random window of `size`; smaller images are padded at the bottom and at the right."""
    window = crop_window(tf.shape(mask), seed, size)
    image, mask = cut(image, window), cut(mask, window)
    missing = tf.constant(size) - tf.shape(mask)

    def filled() -> Pair:
        below, right = [0, missing[0]], [0, missing[1]]
        pixels = padded(image, [below, right, [0, 0]], fill)
        return pixels, tf.pad(mask, [below, right], constant_values=ignore)

    image, mask = tf.cond(tf.reduce_any(missing > 0), filled, lambda: (image, mask))
    return tf.ensure_shape(image, [*size, image.shape[-1]]), tf.ensure_shape(mask, size)


def crop_window(full: tf.Tensor, seed: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Returns the window of an image of size `full` that `cropped` keeps."""
    return random_window(full, tf.constant(size), tf.random.stateless_uniform([2], seed, alg="philox"))


def random_window(full: tf.Tensor, size: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Returns the window of at most `size` at the position given by the two `draws` in [0, 1).

    The window of an image of at most `size` is the whole image. What is cut out once is therefore not cut again.

    Returns:
        Top, left, height and width of the window, int32 of shape `[4]`.
    """
    size = tf.minimum(size, full)
    start = tf.cast(draws * tf.cast(full - size + 1, tf.float32), tf.int32)
    return tf.concat([start, size], 0)
