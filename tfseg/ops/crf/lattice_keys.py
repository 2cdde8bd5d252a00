"""The vertices of a lattice that points use, and which are neighbors: exact integer keys, and no sorting.

The coordinates `x_0 … x_{d-1}` of a vertex (the last follows, since the sum is zero) become one integer
`sum_i R_i x_i`, where `R_i` is the product of the ranges of the coordinates before. Different vertices have different
keys. A simplex has one as well, out of `nearest_i - rank_i`: the first is a multiple of `d + 1`, the second is below.

Vertices of different colors differ, and the next vertex along any axis has the next color. So each color is searched
on its own: small tables are faster than a large one, and several are searched at a time. Vertices of even and of odd
colors are numbered apart.
"""

import math
import sys
from collections.abc import Sequence
from typing import Any

import keras

from tfseg.ops.crf.simplex import Simplices, backward_number
from tfseg.ops.runtime import assert_condition

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

MOST_BITS = 62
BITS_OF_TABLE = 15
"""Tables to gather from are no longer than 2 to that power: all five numbers of five dimensions fit, and caches do."""


def radices(found: Simplices) -> Any:
    """`R_0 … R_{d-1}`, and 0 for the last coordinate: int64 `[d + 1]`."""
    size = len(found.nearest)
    margin = 6 * size  # the key of a simplex, its vertices and their neighbors are within 3 (d + 1) of `nearest`
    ranges = tf.stack([tf.reduce_max(x) - tf.reduce_min(x) + (margin + 1) for x in found.nearest[:-1]])
    farthest = tf.reduce_max(tf.stack([tf.reduce_max(tf.abs(x)) for x in found.nearest]))
    fits = tf.reduce_sum(tf.math.log(tf.cast(ranges, "float64"))) < MOST_BITS * math.log(2)
    assert_condition(
        tf.logical_and(fits, farthest < 2**20),
        "Points are too far apart for the lattice, in standard deviations of the filter: its coordinates must stay "
        f"below 2^20, and the product of the ranges of {size - 1} of them below 2^{MOST_BITS}. Take larger ones "
        "(theta_alpha and theta_beta, if this is a CRF). These are the ranges.",
        ranges,
    )
    return tf.concat([tf.math.cumprod(tf.cast(ranges, "int64"), exclusive=True), tf.zeros([1], "int64")], 0)


def vertices(found: Simplices, radices: Any) -> tuple[Any, tuple[list[Any], list[Any]], list[Any]]:
    """The vertices in use.

    Returns:
        The number of each point's simplex, int32 `[points]`; for the even and for the odd colors, the numbers of the
        vertices of each simplex, int32 `[simplices]` for each color; and for each color the keys of its vertices,
        int64, in the order of their numbers.
    """
    size = len(found.order)
    backwards = radices[::-1]
    key = -tf.reduce_sum(radices) * tf.cast(found.excess, "int64")
    for number, nearest in enumerate(found.nearest[:-1]):
        key += radices[number] * tf.cast(nearest, "int64")
    ranked = [backward_number(code, size) for code in found.first[1:]]
    key -= _gathered([rank * backwards for rank in range(1, size)], ranked)
    keys, simplex = tf.unique(key)
    # One of its points stands for a simplex.
    point = tf.math.unsorted_segment_max(tf.range(tf.shape(key)[0]), simplex, tf.shape(keys)[0])
    by_rank = [tf.gather(backwards, backward_number(tf.gather(code, point), size)) for code in found.order]
    corner_keys = _corner_keys(keys, by_rank, tf.reduce_sum(radices))
    colors, corners = zip(*map(tf.unique, corner_keys), strict=True)
    numbers = [corner + start for corner, start in zip(corners, _starts(colors), strict=True)]
    return simplex, (numbers[::2], numbers[1::2]), list(colors)


def _gathered(tables: list[Any], numbers: list[Any]) -> Any:
    """`tables[0][numbers[0]] + tables[1][numbers[1]] + …`, `[points]`: several numbers are looked up at once.

    Args:
        tables: each `[size]`.
        numbers: for each table below `size`, int32 `[points]`.
    """
    size = tables[0].shape[0]
    bits = (size - 1).bit_length()
    at_once = BITS_OF_TABLE // bits
    sums = []
    for start in range(0, len(tables), at_once):
        table, place = tf.zeros([1], tables[0].dtype), 0
        for one, number in zip(tables[start : start + at_once], numbers[start : start + at_once], strict=True):
            table = tf.reshape(table[:, None] + tf.pad(one, [[0, (1 << bits) - size]]), [-1])
            place = place * (1 << bits) + number
        sums.append(tf.gather(table, place))
    return tf.add_n(sums)


def _starts(colors: Sequence[Any]) -> list[Any]:
    """The number of the first vertex of each color: even and odd colors are counted apart."""
    counts = tf.stack([tf.shape(color)[0] for color in colors])
    starts: list[Any] = [None] * len(colors)
    for parity in (0, 1):
        those = counts[parity::2]
        starts[parity::2] = tf.unstack(tf.math.cumsum(those, exclusive=True), len(colors[parity::2]))
    return starts


def _corner_keys(keys: Any, by_rank: list[Any], total: Any) -> list[Any]:
    """The keys of the vertices of simplices, by color, from the simplices' keys and their `R` by rank.

    Color 0 is `nearest_i`, brought back. From each color to the next, all coordinates rise by one except that of the
    lowest rank left, which falls by `d`.
    """
    corner = tf.add_n([keys, *(rank * radix for rank, radix in enumerate(by_rank))])
    corners = [corner]
    for radix in by_rank[:0:-1]:
        corner = corner + (total - len(by_rank) * radix)
        corners.append(corner)
    return corners


def links(colors: list[Any], radices: Any) -> tuple[list[Any], list[Any]]:
    """Which vertices are neighbors along each axis.

    The vertex after `x` along axis `j` is `x + 1` in all coordinates but `x_j - d`. Its color is the next one, so that
    neighbors are a vertex of an even and one of an odd color, unless the first color follows upon an even one.

    Returns:
        For each axis the pairs of an even and an odd vertex, int32 `[pairs, 2]`; and, where `d` is even, for each axis
        the pairs of two even vertices.
    """
    size = len(colors)
    steps = tf.reduce_sum(radices) - size * radices
    numbers = [start + tf.range(tf.shape(color)[0]) for start, color in zip(_starts(colors), colors, strict=True)]
    across: list[Any] = []
    among_even: list[Any] = []
    for number, color in enumerate(colors):
        after = (number + 1) % size
        if number % 2 == 0:
            one, other = joined(numbers[number], 0), joined(0, numbers[after])
        else:
            one, other = joined(0, numbers[number]), joined(numbers[after], 0)
        pairs = one + _looked_up(steps[:, None] + color, colors[after], other)
        (among_even if number % 2 == after % 2 else across).append(pairs)
    return _found(across, size), _found(among_even, size)


def _looked_up(sought: Any, keys: Any, values: Any) -> Any:
    """The values of the keys that are sought; for one that is not there the lowest integer.

    A table takes half the time of `tf.unique`, which would take up what is not there as well.
    """
    table = tf.raw_ops.AnonymousHashTable(key_dtype=keys.dtype, value_dtype=values.dtype)
    with tf.control_dependencies([tf.raw_ops.InitializeTableV2(table_handle=table, keys=keys, values=values)]):
        return tf.raw_ops.LookupTableFindV2(table_handle=table, keys=sought, default_value=values.dtype.min)


def _found(pairs: list[Any], size: int) -> list[Any]:
    if not pairs:
        return []
    return [apart(tf.gather(axis, tf.where(axis >= 0)[:, 0])) for axis in tf.unstack(tf.concat(pairs, 1), size)]


# Pairs of numbers are moved as one integer each, several times as fast as stacking them.


def joined(first: Any, second: Any) -> Any:
    """Two int32 tensors, the numbers in which are not negative, as one of int64; shapes are broadcast."""
    low, high = (first, second) if sys.byteorder == "little" else (second, first)
    return tf.cast(low, "int64") + tf.bitwise.left_shift(tf.cast(high, "int64"), tf.constant(32, "int64"))


def apart(pairs: Any) -> Any:
    """`[…]` of `joined` to int32 `[…, 2]`."""
    return tf.bitcast(pairs, "int32")


def side_by_side(columns: list[Any]) -> Any:
    """`tf.stack(columns, 1)`, in a fraction of the time."""
    return tf.transpose(tf.stack(columns))
