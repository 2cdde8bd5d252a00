"""Simplices of the permutohedral lattice around points, with barycentric weights.

The lattice of `d` dimensions lies in the hyperplane of `d + 1` coordinates whose sum is zero. The coordinates of a
vertex of *color* `k` (remainder-`k` point in the paper) are integers equal to `k` modulo `d + 1`. A simplex has one
vertex of each color from 0 to `d`. The symbols follow Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the
Permutohedral Lattice", Eurographics 2010, section 3.
"""

import math
from typing import Any, NamedTuple

import keras
import numpy as np

from tfseg.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


class Simplices(NamedTuple):
    """Simplices around `n` points. Lists have one vector `[n]` per coordinate, rank or color."""

    nearest: list[Tensor]
    """Nearest multiple of `d + 1` of each coordinate."""
    excess: Tensor
    """Sum of `nearest` over the coordinates, divided by `d + 1`, int32: 0 in the hyperplane."""
    first: list[Tensor]
    """Codes of the coordinates in descending order of their distance above `nearest`. See `backward_number`."""
    order: list[Tensor]
    """The same after `nearest` was moved into the hyperplane: distances are relative to the vertex of color 0."""
    weights: list[Tensor]
    """Barycentric weights of the vertices by color, non-negative with the sum `total`."""


def elevation(dimensions: int) -> np.ndarray:
    """Returns the matrix E of section 3.1, `[d + 1, d]`, from features in standard deviations to the hyperplane.

    The matrix includes the scale `(d + 1) sqrt(2/3)`: the standard deviation of the whole filter, that is of blurring
    with `(1/2, 1, 1/2)` along each axis and of interpolating.
    """
    matrix = np.zeros((dimensions + 1, dimensions))
    for column in range(dimensions):
        matrix[: column + 1, column] = 1
        matrix[column + 1, column] = -(column + 1)
        matrix[:, column] /= math.sqrt((column + 1) * (column + 2))
    return matrix * (dimensions + 1) * math.sqrt(2 / 3)


def simplices(features: Tensor, total: float = 1.0) -> Simplices:
    """Computes the simplex around each point.

    Args:
        features: Floating-point tensor `[n, d]`, in standard deviations of the filter.
        total: Sum of the barycentric weights of a point.
    """
    size = features.shape[1] + 1
    elevated = tf.unstack(tf.matmul(tf.constant(elevation(size - 1), features.dtype), features, transpose_b=True))
    rounded = [tf.round(coordinate / size) for coordinate in elevated]
    excess = tf.cast(tf.add_n(rounded), "int32")
    fractions = [coordinate / size - whole for coordinate, whole in zip(elevated, rounded, strict=True)]
    coded = descending([_coded(fraction, number, size) for number, fraction in enumerate(fractions)])
    # To move `nearest` into the hyperplane, the `excess` lowest coordinates decrease by a step, which makes their
    # fractions the highest. If `excess` is negative, the highest coordinates increase and become the lowest.
    one = 1 << _fraction_bits(size) + _number_bits(size)
    moved = [
        code + one * (tf.cast(excess >= size - rank, "int32") - tf.cast(-excess > rank, "int32"))
        for rank, code in enumerate(coded)
    ]
    order = descending(moved)
    return Simplices([whole * size for whole in rounded], excess, coded, order, _weights(order, total, features.dtype))


def _weights(coded: list[Tensor], total: float, dtype: Any) -> list[Tensor]:
    """Returns the barycentric weights (proposition 4.3): differences between successive sorted fractions."""
    size = len(coded)
    scale = tf.constant(total * 0.5 ** _fraction_bits(size), dtype)
    fractions = [tf.cast(tf.bitwise.right_shift(code, _number_bits(size)), dtype) * scale for code in coded]
    gaps = [fractions[size - 1 - color] - fractions[size - color] for color in range(1, size)]
    return [total + fractions[-1] - fractions[0], *gaps]


# The fraction of a coordinate (in units of `d + 1`) and its number are coded as one integer, so that a single sort
# gives both the order and the values. The fraction has 26 bits for five dimensions, about the precision of float32.


def _number_bits(size: int) -> int:
    return (size - 1).bit_length()


def _fraction_bits(size: int) -> int:
    return 29 - _number_bits(size)


def _coded(fraction: Tensor, number: int, size: int) -> Tensor:
    """Packs a fraction and the index of its coordinate into one integer, for sorting by the fraction."""
    whole = tf.cast(fraction * (1 << _fraction_bits(size)), "int32")
    return whole * (1 << _number_bits(size)) + (size - 1 - number)


def backward_number(code: Tensor, size: int) -> Tensor:
    """Decodes the number of a coordinate, counted from the last one, from an element of `first` or `order`."""
    return tf.bitwise.bitwise_and(code, (1 << _number_bits(size)) - 1)


def descending(values: list[Tensor]) -> list[Tensor]:
    """Sorts the vectors of a list elementwise in descending order. A bubble sort is fastest for short lists."""
    values = list(values)
    for end in range(len(values) - 1, 0, -1):
        for index in range(end):
            first, second = values[index], values[index + 1]
            values[index], values[index + 1] = tf.maximum(first, second), tf.minimum(first, second)
    return values
