"""Perceptual and exact hashes of images, computed inside the TensorFlow graph, and the search for near duplicates.

The perceptual hash is the DCT hash ("pHash") of Zauner, Implementation and Benchmarking of Perceptual Image Hash
Functions (2010), section 3.2.1: the image is reduced to 32x32 gray pixels, and each of the 63 lowest frequencies of its
8x8 DCT block, without the mean, is compared with their median.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

SIDE, BLOCK = 32, 8
"""Side of the reduced image, and of the block of low frequencies."""
BITS = BLOCK * BLOCK - 1
FLAT = 2.0
"""Standard deviation of the reduced image, in gray levels, below which an image has no hash: its frequencies are
noise."""
NO_HASH = -1
THRESHOLD = 6
"""Maximum number of different bits of near duplicates. Re-encoded and resized copies differ in up to 6 bits; between
splits of CamVid and of VOC, no pair of 252,871 does (docs/data.md)."""
ROWS, COLUMNS = 1024, 8192
"""Sizes of the blocks of the search: 32 MB per array."""


def _dct() -> np.ndarray:
    """Returns the lowest frequencies of the orthonormal DCT-II, float32 `[BLOCK, SIDE]`."""
    waves = np.cos(np.pi * np.arange(BLOCK)[:, None] * (np.arange(SIDE) + 0.5) / SIDE) * np.sqrt(2 / SIDE)
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)


def perceptual_hash(image: tf.Tensor) -> tf.Tensor:
    """Computes the DCT hash of an image, an int64 scalar of 63 bits; -1 for an image of almost one color.

    >>> image = tf.cast(tf.random.stateless_uniform([32, 32, 3], [0, 0], 0, 256, tf.int32), tf.uint8)
    >>> larger = tf.repeat(tf.repeat(image, 2, axis=0), 3, axis=1)
    >>> int(perceptual_hash(image)) == int(perceptual_hash(larger))
    True
    >>> int(perceptual_hash(tf.zeros([50, 60, 3], tf.uint8)))
    -1

    Args:
        image: Uint8 or float32 tensor `[height, width, channels]`.
    """
    gray = tf.reduce_mean(tf.image.resize(image, [SIDE, SIDE], tf.image.ResizeMethod.AREA), -1)
    dct = tf.constant(_dct())
    block = tf.reshape(tf.matmul(tf.matmul(dct, gray), dct, transpose_b=True), [-1])[1:]
    bits = tf.cast(block > tf.sort(block)[BITS // 2], tf.int64)
    packed = tf.reduce_sum(tf.bitwise.left_shift(bits, tf.range(BITS, dtype=tf.int64)))
    return tf.where(tf.math.reduce_std(gray) < FLAT, tf.constant(NO_HASH, tf.int64), packed)


def pixel_hash(image: tf.Tensor) -> tf.Tensor:
    """Computes FarmHash64 of the pixels, an int64 scalar, for the search for exact duplicates."""
    digest = tf.raw_ops.Fingerprint(data=tf.reshape(image, [1, -1]), method="farmhash64")
    return tf.bitcast(digest[0], tf.int64)


class NearPair(NamedTuple):
    """Near duplicates: positions in two lists of hashes, and the number of different bits."""

    first: int
    second: int
    distance: int


def near_pairs(first: np.ndarray, second: np.ndarray, threshold: int = THRESHOLD) -> list[NearPair]:
    """Finds the nearest hash of `first` for each hash of `second`, if it is within the threshold.

    Distances are computed by blocks of matrix products: for bits written as 1 and -1, the product of two hashes is
    `BITS` minus twice the number of different bits.

    >>> near_pairs(np.array([0b1111, 0b0001]), np.array([0b0011]), threshold=2)
    [NearPair(first=1, second=0, distance=1)]

    Args:
        first: Int64 array `[hashes]`; -1 for none.
        second: Int64 array `[hashes]`; -1 for none.
        threshold: Integer, maximum number of different bits.

    Returns:
        At most one pair per hash of `second`, sorted by distance.
    """
    pairs = [pair for start in range(0, len(second), ROWS) for pair in _nearest(first, second, start, threshold)]
    return sorted(pairs, key=lambda pair: (pair.distance, pair.second))


def _nearest(first: np.ndarray, second: np.ndarray, start: int, threshold: int) -> Iterator[NearPair]:
    rows = _signs(second[start : start + ROWS])
    best, at = np.full(len(rows), BITS + 1.0), np.zeros(len(rows), np.int64)
    for offset in range(0, len(first), COLUMNS):
        distances = (BITS - rows @ _signs(first[offset : offset + COLUMNS]).T) / 2
        distances[:, first[offset : offset + COLUMNS] == NO_HASH] = BITS + 1
        column = distances.argmin(1)
        nearest = distances[np.arange(len(rows)), column]
        at, best = np.where(nearest < best, offset + column, at), np.minimum(nearest, best)
    for row in np.flatnonzero((best <= threshold) & (second[start : start + ROWS] != NO_HASH)).tolist():
        yield NearPair(int(at[row]), start + row, int(best[row]))


def _signs(hashes: np.ndarray) -> np.ndarray:
    """Writes the bits of hashes as 1 and -1, float32 `[hashes, BITS]`."""
    return ((hashes[:, None] >> np.arange(BITS)) & 1).astype(np.float32) * 2 - 1
