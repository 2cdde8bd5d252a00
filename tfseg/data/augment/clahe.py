"""Augmentation by contrast limited adaptive histogram equalization (CLAHE)."""

from typing import Annotated, Literal

import tensorflow as tf
from pydantic import Field

from tfseg.data.augment.colors import luma
from tfseg.data.augment.contract import AugmentSpec, Pair, View, like
from tfseg.data.augment.probability import ORDERED, Probability, uniform, with_probability
from tfseg.spec.declare import spec

Limit = Annotated[float, Field(ge=1, le=256)]
_BINS = 256


@spec
class Clahe(AugmentSpec):
    """Equalizes the histograms of tiles of the image, with limited contrast.

    Of 3 channels, the luma is equalized and the chroma is kept; any other number of channels is equalized one by one.
    Source: Zuiderveld 1994, Graphics Gems IV, with the clip limit and the rounding of OpenCV.
    """

    type: Literal["clahe"] = "clahe"
    clip_limit: Annotated[tuple[Limit, Limit], ORDERED] = (1.0, 4.0)
    """Minimum and maximum clip limit of the histograms, as a multiple of their mean: a limit of the contrast. 256
    is none."""
    tiles: Annotated[int, Field(ge=1, le=64)] = 8
    """Number of tiles along each axis."""
    probability: Probability = 0.5
    """Probability of an equalization."""

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Equalizes the image; the mask stays the same."""
        limit = uniform(tf.random.stateless_uniform([], seed, alg="philox"), self.clip_limit)
        pixels = tf.cast(image, tf.float32)
        levels = tf.cast((luma(pixels) if image.shape[-1] == 3 else pixels) + 0.5, tf.int32)
        channels = [equalized(each, limit, self.tiles) for each in tf.unstack(levels, axis=-1)]
        change = tf.stack(channels, -1) - tf.cast(levels, tf.float32)
        return tf.ensure_shape(like(pixels + change, image), image.shape), mask


def equalized(levels: tf.Tensor, limit: tf.Tensor, tiles: int) -> tf.Tensor:
    """Equalizes one channel, with bilinear interpolation between the mappings of the four nearest tiles.

    Args:
        levels: Int32 tensor of shape `[height, width]`, 0 to 255.
        limit: Float scalar, clip limit, as a multiple of the mean of a histogram.
        tiles: Integer, number of tiles along each axis. An axis of fewer pixels has one tile per pixel.

    Returns:
        Float tensor of shape `[height, width]`, 0 to 255.
    """
    shape = tf.shape(levels)
    counts = tf.minimum(tiles, shape)
    sides = -(-shape // counts)
    mappings = _mappings(_histograms(levels, counts, sides), limit, sides[0] * sides[1])
    (top, bottom, down), (left, right, across) = (_neighbors(shape[axis], sides[axis], counts[axis]) for axis in (0, 1))

    def at(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        tile = rows[:, None] * counts[1] + columns[None]
        return tf.gather_nd(mappings, (tile * _BINS + levels)[:, :, None])

    upper, lower = (at(rows, left) * (1 - across) + at(rows, right) * across for rows in (top, bottom))
    return tf.round(upper * (1 - down[:, None]) + lower * down[:, None])


def _histograms(levels: tf.Tensor, counts: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    """Returns the histograms of the tiles, int32 `[tiles, 256]`. The image is mirrored to fill the last tiles."""
    beyond = counts * sides - tf.shape(levels)
    padded = tf.pad(levels, tf.stack([tf.zeros_like(beyond), beyond], 1), "REFLECT")
    rows, columns = (tf.range(counts[axis] * sides[axis]) // sides[axis] for axis in (0, 1))
    tile = rows[:, None] * counts[1] + columns[None]
    flat, size = tf.reshape(tile * _BINS + padded, [-1]), counts[0] * counts[1] * _BINS
    counted = tf.raw_ops.DenseBincount(input=flat, size=size, weights=tf.constant([], tf.int32))
    return tf.reshape(counted, [-1, _BINS])


def _mappings(histograms: tf.Tensor, limit: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Returns the mapping of levels of each tile: the cumulative clipped histogram, float `[tiles * 256]`, 0 to 255."""
    clip = tf.maximum(tf.cast(limit * tf.cast(pixels, tf.float32) / _BINS, tf.int32), 1)
    excess = tf.reduce_sum(tf.maximum(histograms - clip, 0), 1, keepdims=True)
    rest = excess % _BINS  # pixels that remain are given to evenly spaced levels
    step = tf.maximum(_BINS // tf.maximum(rest, 1), 1)
    level = tf.range(_BINS)
    added = tf.cast((level % step == 0) & (level // step < rest), tf.int32)
    clipped = tf.minimum(histograms, clip) + excess // _BINS + added
    scale = (_BINS - 1) / tf.cast(pixels, tf.float32)
    return tf.reshape(tf.round(tf.cast(tf.cumsum(clipped, 1), tf.float32) * scale), [-1])


def _neighbors(length: tf.Tensor, side: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the tiles before and after each pixel of an axis, and the weight of the second."""
    position = tf.cast(tf.range(length), tf.float32) / tf.cast(side, tf.float32) - 0.5
    before = tf.floor(position)
    tile = tf.cast(before, tf.int32)
    return tf.maximum(tile, 0), tf.minimum(tile + 1, count - 1), position - before
