"""The vertices of a lattice that points use, and which are neighbours: exact integer keys, and no sorting.

The coordinates `x_0 … x_{d-1}` of a vertex (the last follows, since the sum is zero) become one integer
`sum_i R_i x_i`, where `R_i` is the product of the ranges of the coordinates before. Different vertices have different
keys. A simplex has one as well, out of `nearest_i - rank_i`: the first is a multiple of `d + 1`, the second is below.

Vertices of different colours differ, and the next vertex along any axis has the next colour. So each colour is searched
on its own: small tables are faster than a large one, and several are searched at a time.
"""

import math
from typing import Any

import keras

from tfseg.ops.demand import demand
from tfseg.ops.simplex import Simplices, backward_number

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

MOST_BITS = 62


def radices(found: Simplices) -> Any:
    """`R_0 … R_{d-1}`, and 0 for the last coordinate: int64 `[d + 1]`."""
    size = len(found.nearest)
    margin = 6 * size  # the key of a simplex, its vertices and their neighbours are within 3 (d + 1) of `nearest`
    ranges = tf.stack([tf.reduce_max(x) - tf.reduce_min(x) + (margin + 1) for x in found.nearest[:-1]])
    farthest = tf.reduce_max(tf.stack([tf.reduce_max(tf.abs(x)) for x in found.nearest]))
    fits = tf.reduce_sum(tf.math.log(tf.cast(ranges, "float64"))) < MOST_BITS * math.log(2)
    demand(
        tf.logical_and(fits, farthest < 2**20),
        "Points are too far apart for the lattice, in standard deviations of the filter: its coordinates must stay "
        f"below 2^20, and the product of the ranges of {size - 1} of them below 2^{MOST_BITS}. Take larger ones.",
        ranges,
    )
    return tf.concat([tf.math.cumprod(tf.cast(ranges, "int64"), exclusive=True), tf.zeros([1], "int64")], 0)


def vertices(found: Simplices, radices: Any) -> tuple[Any, Any, list[Any]]:
    """The vertices in use.

    Returns:
        The number of each point's simplex; the numbers of the vertices of each simplex, int32 `[simplices, d + 1]`; and
        for each colour the keys of its vertices, int64, numbered through in that order.
    """
    size = len(found.order)
    backwards = radices[::-1]
    key = -tf.reduce_sum(radices) * tf.cast(found.excess, "int64")
    for number, nearest in enumerate(found.nearest[:-1]):
        key += radices[number] * tf.cast(nearest, "int64")
    for rank, code in enumerate(found.first[1:], start=1):
        key -= tf.gather(rank * backwards, backward_number(code, size))
    keys, simplex = tf.unique(key)
    # One of its points stands for a simplex.
    point = tf.tensor_scatter_nd_update(tf.zeros_like(keys, "int32"), simplex[:, None], tf.range(tf.shape(key)[0]))
    by_rank = [tf.gather(backwards, backward_number(tf.gather(code, point), size)) for code in found.order]
    corners, colours, before = [], [], 0
    for corner_key in _corner_keys(keys, by_rank, tf.reduce_sum(radices)):
        colour, corner = tf.unique(corner_key)
        corners.append(corner + before)
        colours.append(colour)
        before += tf.shape(colour)[0]
    return simplex, side_by_side(corners), colours


def _corner_keys(keys: Any, by_rank: list[Any], total: Any) -> list[Any]:
    """The keys of the vertices of simplices, by colour, from the simplices' keys and their `R` by rank.

    Colour 0 is `nearest_i`, brought back. From each colour to the next, all coordinates rise by one except that of the
    lowest rank left, which falls by `d`.
    """
    corner = tf.add_n([keys, *(rank * radix for rank, radix in enumerate(by_rank))])
    corners = [corner]
    for radix in by_rank[:0:-1]:
        corner = corner + (total - len(by_rank) * radix)
        corners.append(corner)
    return corners


def neighbours(colours: list[Any], radices: Any) -> list[Any]:
    """For each axis the number of the vertex that follows each vertex, int32 `[vertices]`; -1 where it is not in use.

    The vertex after `x` along axis `j` is `x + 1` in all coordinates but `x_j - d`.
    """
    size = len(colours)
    steps = tf.reduce_sum(radices) - size * radices
    counts = [tf.shape(colour)[0] for colour in colours]
    starts = tf.unstack(tf.math.cumsum(tf.stack(counts), exclusive=True), size)
    following = []
    for number, colour in enumerate(colours):
        after = (number + 1) % size
        sought = tf.reshape(steps[:, None] + colour, [-1])
        _, places = tf.unique(tf.concat([colours[after], sought], 0))
        found = tf.reshape(places[counts[after] :], [size, -1])
        following.append(tf.where(found < counts[after], found + starts[after], -1))
    return tf.unstack(tf.concat(following, 1), size)


def side_by_side(columns: list[Any]) -> Any:
    """`tf.stack(columns, 1)`, in a fraction of the time."""
    return tf.transpose(tf.stack(columns))
