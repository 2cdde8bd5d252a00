"""Seeds and small images for the tests of augmentation ops."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.data.augment import Pair, View

MEAN = (123, 117, 104)


def seeds(count: int) -> list[tf.Tensor]:
    return [tf.constant([3, number], tf.int64) for number in range(count)]


def run(op: Any, image: np.ndarray, mask: np.ndarray, seed: tf.Tensor, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Applies an op to arrays. An op that mixes examples has flipped copies of the example as partners."""
    new_image, new_mask = call(op, tf.constant(image), tf.constant(mask), seed, view)
    return new_image.numpy(), new_mask.numpy()


def call(op: Any, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
    """Applies an op to tensors."""
    if not hasattr(op, "PARTNERS"):
        return op(image, mask, seed, view)
    flipped = [(tf.reverse(image, [axis % 2]), tf.reverse(mask, [axis % 2])) for axis in range(op.PARTNERS)]
    return op([(image, mask), *flipped], seed, view)


def noise(height: int, width: int, channels: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    """Draws an image of independent values, which are integers also if `dtype` is float."""
    return np.random.default_rng(height * width).integers(0, 256, (height, width, channels)).astype(dtype)


def photo(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Returns an image of smooth waves and a little noise, which uses most values."""
    rows, columns = np.mgrid[:height, :width] / 9.0
    waves = [np.sin(rows * (1 + c / 3)) * np.cos(columns / (1 + c / 2)) + columns / 30 for c in range(channels)]
    grain = np.random.default_rng(1).normal(0, 4, (height, width, channels))
    return np.clip(60 * np.stack(waves, -1) + 90 + grain, 0, 255).astype(np.uint8)
