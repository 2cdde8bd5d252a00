"""Where points lie in the permutohedral lattice: the simplex around each, and how much of each vertex it takes.

The lattice of `d` dimensions lives in the hyperplane of `d + 1` coordinates whose sum is zero. A vertex of *color* `k`
has integer coordinates that are all `k` modulo `d + 1`; the vertices of a simplex have the colors 0 to `d`, one each.
Symbols are those of Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice",
Eurographics 2010, section 3.
"""

import math
from typing import Any, NamedTuple

import keras
import numpy as np

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


class Simplices(NamedTuple):
    """The simplex around each of `n` points, as lists over coordinates, ranks or colors of vectors `[n]`."""

    nearest: list[Any]
    """For each coordinate, the multiple of `d + 1` next to it."""
    excess: Any
    """The sum of `nearest` over the coordinates in units of `d + 1`, int32: 0 where they lie in the hyperplane."""
    first: list[Any]
    """The coordinates by rank: the one that is farthest above its `nearest` first. See `backward_number`."""
    order: list[Any]
    """The same after points outside the hyperplane were brought back: from the vertex of color 0."""
    weights: list[Any]
    """For each color, the barycentric weight of the simplex's vertex. They are at least zero; `total` is their sum."""


def elevation(dimensions: int) -> Any:
    """The matrix E of section 3.1: `[d + 1, d]`, from features in standard deviations to the hyperplane.

    Blurring with `(1/2, 1, 1/2)` along each axis has a standard deviation of `(d + 1) sqrt(2/3)` there, interpolation
    included: the features are scaled by that much.
    """
    matrix = np.zeros((dimensions + 1, dimensions))
    for column in range(dimensions):
        matrix[: column + 1, column] = 1
        matrix[column + 1, column] = -(column + 1)
        matrix[:, column] /= math.sqrt((column + 1) * (column + 2))
    return matrix * (dimensions + 1) * math.sqrt(2 / 3)


def simplices(features: Any, total: float = 1.0) -> Simplices:
    """Finds the simplex around each point.

    Args:
        features: `[n, d]`, floating, in standard deviations of the filter.
        total: the sum of the weights of a point.
    """
    size = features.shape[1] + 1
    elevated = tf.unstack(tf.matmul(tf.constant(elevation(size - 1), features.dtype), features, transpose_b=True))
    rounded = [tf.round(coordinate / size) for coordinate in elevated]
    excess = tf.cast(tf.add_n(rounded), "int32")
    parts = [coordinate / size - whole for coordinate, whole in zip(elevated, rounded, strict=True)]
    coded = descending([_coded(part, number, size) for number, part in enumerate(parts)])
    # A point outside the hyperplane is brought back: so many of the lowest coordinates go down a step (or of the
    # highest up), which makes them the highest (the lowest).
    one = 1 << _fraction_bits(size) + _number_bits(size)
    moved = [
        code + one * (tf.cast(excess >= size - rank, "int32") - tf.cast(-excess > rank, "int32"))
        for rank, code in enumerate(coded)
    ]
    order = descending(moved)
    return Simplices([whole * size for whole in rounded], excess, coded, order, _weights(order, total, features.dtype))


def _weights(coded: list[Any], total: float, dtype: Any) -> list[Any]:
    """Barycentric weights (proposition 4.3): differences between neighbors in the order of the fractions."""
    size = len(coded)
    scale = tf.constant(total * 0.5 ** _fraction_bits(size), dtype)
    parts = [tf.cast(tf.bitwise.right_shift(code, _number_bits(size)), dtype) * scale for code in coded]
    gaps = [parts[size - 1 - color] - parts[size - color] for color in range(1, size)]
    return [total + parts[-1] - parts[0], *gaps]


# A coordinate's fraction (in units of `d + 1`) and its number go into one integer, so that a single sorting gives the
# order and the values. 26 bits behind the point are kept for five dimensions; float32 has no more at these sizes.


def _number_bits(size: int) -> int:
    return (size - 1).bit_length()


def _fraction_bits(size: int) -> int:
    return 29 - _number_bits(size)


def _coded(part: Any, number: int, size: int) -> Any:
    """Of equal fractions the one of the lower number comes first."""
    whole = tf.cast(part * (1 << _fraction_bits(size)), "int32")
    return whole * (1 << _number_bits(size)) + (size - 1 - number)


def backward_number(code: Any, size: int) -> Any:
    """The number of a coordinate, counted from the last one, out of an element of `first` or `order`."""
    return tf.bitwise.bitwise_and(code, (1 << _number_bits(size)) - 1)


def descending(values: list[Any]) -> list[Any]:
    """Sorts lists of vectors element by element, with exchanges of neighbors: no operation sorts short rows faster."""
    values = list(values)
    for end in range(len(values) - 1, 0, -1):
        for place in range(end):
            first, second = values[place], values[place + 1]
            values[place], values[place + 1] = tf.maximum(first, second), tf.minimum(first, second)
    return values
