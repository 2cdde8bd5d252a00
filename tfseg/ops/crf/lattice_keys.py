"""Vertices of the permutohedral lattice and their neighbors, by exact integer keys without sorting.

The key of a vertex with the coordinates `x_0 … x_{d-1}` is the integer `sum_i R_i x_i`, where `R_i` is the product of
the ranges of the coordinates before `x_i`. (The last coordinate follows, because the sum of all is zero.) Different
vertices have different keys. The key of a simplex is computed from `nearest_i - rank_i`, which is unique because
`nearest_i` is a multiple of `d + 1` and `rank_i` is less than `d + 1`.

The next vertex along any axis has the next color. So each color has its own table: small tables are faster than a large
one, and several are searched in parallel. Vertices of even and odd colors have separate indices.
"""

import math
import sys
from collections.abc import Sequence

import keras

from tfseg.ops.crf.simplex import Simplices, backward_number
from tfseg.ops.runtime import assert_condition
from tfseg.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

KEY_BITS = 62
"""Maximum number of bits of a key."""
TABLE_BITS = 15
"""Maximum number of bits of an index into a lookup table. Enough for five ranks of 3 bits, and fits in the cache."""


def radices(simplices: Simplices) -> Tensor:
    """Returns `R_0 … R_{d-1}`, and 0 for the last coordinate: int64 `[d + 1]`."""
    size = len(simplices.nearest)
    margin = 6 * size  # simplex keys, vertices and their neighbors are within 3 (d + 1) of `nearest`
    ranges = tf.stack([tf.reduce_max(x) - tf.reduce_min(x) + (margin + 1) for x in simplices.nearest[:-1]])
    farthest = tf.reduce_max(tf.stack([tf.reduce_max(tf.abs(x)) for x in simplices.nearest]))
    fits = tf.reduce_sum(tf.math.log(tf.cast(ranges, "float64"))) < KEY_BITS * math.log(2)
    assert_condition(
        tf.logical_and(fits, farthest < 2**20),
        "The features are too far apart for the permutohedral lattice. Its coordinates must be below 2^20, and the "
        f"product of their {size - 1} ranges below 2^{KEY_BITS}. Increase the standard deviations of the filter "
        "(theta_alpha and theta_beta of a CRF). The ranges are shown.",
        ranges,
    )
    return tf.concat([tf.math.cumprod(tf.cast(ranges, "int64"), exclusive=True), tf.zeros([1], "int64")], 0)


def vertices(simplices: Simplices, radices: Tensor) -> tuple[Tensor, tuple[list[Tensor], list[Tensor]], list[Tensor]]:
    """Returns the vertices of all simplices that contain points.

    Returns:
        Tuple of three: the index of each point's simplex, int32 `[points]`; for the even and the odd colors, the
        vertex indices of each simplex, int32 `[simplices]` per color; and the keys of the vertices of each color,
        int64, in the order of their indices.
    """
    size = len(simplices.order)
    backwards = radices[::-1]
    key = -tf.reduce_sum(radices) * tf.cast(simplices.excess, "int64")
    for number, nearest in enumerate(simplices.nearest[:-1]):
        key += radices[number] * tf.cast(nearest, "int64")
    ranked = [backward_number(code, size) for code in simplices.first[1:]]
    key -= _gathered([rank * backwards for rank in range(1, size)], ranked)
    keys, simplex = tf.unique(key)
    # Each simplex is represented by one of its points.
    point = tf.math.unsorted_segment_max(tf.range(tf.shape(key)[0]), simplex, tf.shape(keys)[0])
    by_rank = [tf.gather(backwards, backward_number(tf.gather(code, point), size)) for code in simplices.order]
    corner_keys = _corner_keys(keys, by_rank, tf.reduce_sum(radices))
    colors, corners = zip(*map(tf.unique, corner_keys), strict=True)
    numbers = [corner + start for corner, start in zip(corners, _first_numbers(colors), strict=True)]
    return simplex, (numbers[::2], numbers[1::2]), list(colors)


def _gathered(tables: list[Tensor], numbers: list[Tensor]) -> Tensor:
    """Computes `tables[0][numbers[0]] + tables[1][numbers[1]] + …`, `[points]`, with combined lookup tables.

    Args:
        tables: List of tensors `[size]`.
        numbers: List of int32 tensors `[points]`, indices below `size` into each table.
    """
    size = tables[0].shape[0]
    bits = (size - 1).bit_length()
    at_once = TABLE_BITS // bits
    sums = []
    for start in range(0, len(tables), at_once):
        table, index = tf.zeros([1], tables[0].dtype), 0
        for one, number in zip(tables[start : start + at_once], numbers[start : start + at_once], strict=True):
            table = tf.reshape(table[:, None] + tf.pad(one, [[0, (1 << bits) - size]]), [-1])
            index = index * (1 << bits) + number
        sums.append(tf.gather(table, index))
    return tf.add_n(sums)


def _first_numbers(colors: Sequence[Tensor]) -> list[Tensor]:
    """Returns the index of the first vertex of each color.

    Indices start at 0 for the vertices of the even colors, and again for those of the odd colors.
    """
    counts = tf.stack([tf.shape(color)[0] for color in colors])
    starts: list[Tensor] = [None] * len(colors)
    for parity in (0, 1):
        those = counts[parity::2]
        starts[parity::2] = tf.unstack(tf.math.cumsum(those, exclusive=True), len(colors[parity::2]))
    return starts


def _corner_keys(keys: Tensor, by_rank: list[Tensor], total: Tensor) -> list[Tensor]:
    """Returns the vertex keys of simplices by color, from the simplex keys and the `R` by rank.

    The vertex of color 0 is `nearest_i`, moved back into the hyperplane. From each color to the next, all coordinates
    increase by one except that of the last remaining rank, which decreases by `d`.
    """
    corner = tf.add_n([keys, *(rank * radix for rank, radix in enumerate(by_rank))])
    corners = [corner]
    for radix in by_rank[:0:-1]:
        corner = corner + (total - len(by_rank) * radix)
        corners.append(corner)
    return corners


def neighbors(colors: list[Tensor], radices: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Returns the pairs of neighboring vertices along each axis.

    The vertex after `x` along axis `j` has the coordinates `x_i + 1`, except for `x_j - d`, and the next color. So
    neighbors have an even and an odd color, except for the last and the first color if `d` is even.

    Returns:
        Tuple of two lists with one int32 tensor `[pairs, 2]` per axis: pairs of an even and an odd vertex, and pairs of
        two even vertices. The second list is empty if `d` is odd.
    """
    size = len(colors)
    steps = tf.reduce_sum(radices) - size * radices
    firsts = _first_numbers(colors)
    numbers = [first + tf.range(tf.shape(color)[0]) for first, color in zip(firsts, colors, strict=True)]
    across: list[Tensor] = []
    among_even: list[Tensor] = []
    for number, color in enumerate(colors):
        after = (number + 1) % size
        if number % 2 == 0:
            one, other = pack(numbers[number], 0), pack(0, numbers[after])
        else:
            one, other = pack(0, numbers[number]), pack(numbers[after], 0)
        pairs = one + _looked_up(steps[:, None] + color, colors[after], other)
        (among_even if number % 2 == after % 2 else across).append(pairs)
    return _existing(across, size), _existing(among_even, size)


def _looked_up(sought: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Looks up the values of the keys `sought`. A missing key has the lowest integer as its value.

    A hash table takes half the time of `tf.unique`, which would also insert missing keys.
    """
    table = tf.raw_ops.AnonymousHashTable(key_dtype=keys.dtype, value_dtype=values.dtype)
    with tf.control_dependencies([tf.raw_ops.InitializeTableV2(table_handle=table, keys=keys, values=values)]):
        return tf.raw_ops.LookupTableFindV2(table_handle=table, keys=sought, default_value=values.dtype.min)


def _existing(pairs: list[Tensor], size: int) -> list[Tensor]:
    if not pairs:
        return []
    return [unpack(tf.gather(axis, tf.where(axis >= 0)[:, 0])) for axis in tf.unstack(tf.concat(pairs, 1), size)]


# Pairs of numbers are packed into one integer, which is several times as fast as stacking them.


def pack(first: Tensor, second: Tensor) -> Tensor:
    """Packs two non-negative int32 tensors into an int64 tensor; shapes are broadcast."""
    low, high = (first, second) if sys.byteorder == "little" else (second, first)
    return tf.cast(low, "int64") + tf.bitwise.left_shift(tf.cast(high, "int64"), tf.constant(32, "int64"))


def unpack(pairs: Tensor) -> Tensor:
    """Unpacks an int64 tensor returned by `pack` into an int32 tensor of shape `[…, 2]`."""
    return tf.bitcast(pairs, "int32")


def stack_columns(columns: list[Tensor]) -> Tensor:
    """Computes `tf.stack(columns, 1)` in a fraction of its time."""
    return tf.transpose(tf.stack(columns))
