"""The permutohedral lattice: Gaussian filtering in any number of dimensions, in time linear in the points.

`y = S B_d … B_0 S' x`: *splat* spreads the value of each point over the vertices of its simplex (`S'`), *blur* runs
`(1/2, 1, 1/2)` along each of the `d + 1` axes of the lattice, *slice* reads at the points (`S`). Only vertices that
some point uses exist. `S` and `B_j` are sparse matrices, built once for an image and used by every filtering and by its
gradient: splat is slice transposed, each `B_j` is symmetric, so the gradient is the same with the axes in reverse.

Vertices are kept in two halves, those of even and those of odd color. Neighbors along an axis differ in parity, so
`B_j` is `[[1, P_j / 2], [P_j' / 2, 1]]`: every product falls into two that run at the same time, over half as much
memory. (TensorFlow computes one product with a sparse matrix on one processor.) Where `d` is even, the last color and
the first are both even, and neighbors among these come on top.

Symbols are those of Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice",
Eurographics 2010, section 3.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from tfseg.ops.crf.lattice_keys import apart, joined, links, radices, side_by_side, vertices
from tfseg.ops.crf.simplex import simplices

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

MOST_COLUMNS = 28
"""TensorFlow's product with a sparse matrix is several times slower for each column from 32 columns on."""


class Sparse(NamedTuple):
    """A sparse matrix."""

    places: Any
    """Row and column of each entry, int32 `[entries, 2]`."""
    values: Any
    """Of the entries."""
    shape: Any
    """int64 `[2]`."""


class Axis(NamedTuple):
    """What `B_j` adds to the identity."""

    across: Sparse
    """`P_j / 2`, from odd to even vertices."""
    among_even: Sparse | None
    """One half for each vertex and the next one where both are even; None if there are no such pairs."""


class Lattice(NamedTuple):
    """What filtering needs to know of a set of points. Pairs are of the even and the odd half."""

    splat: tuple[Sparse, Sparse]
    """`S` for splatting, which transposes it: barycentric weights, scaled so that a blur preserves sums."""
    slice: tuple[Sparse, Sparse]
    """`S` for slicing: the same, unless one of the two has absorbed a scale of the points."""
    axes: tuple[Axis, ...]


def lattice(features: Any) -> Lattice:
    """Builds the lattice of a set of points.

    Args:
        features: `[points, dimensions]`, floating: places in units of the filter's standard deviation.

    Returns:
        The lattice, for `filtered`.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, features that are so far apart that keys would overflow.
    """
    # The blur multiplies a constant by 1 + 2^-d: that much is taken off, half when splatting and half when slicing.
    found = simplices(features, total=(1 + 0.5 ** features.shape[1]) ** -0.5)
    key_of = radices(found)
    simplex, corners, colors = vertices(found, key_of)
    points = tf.shape(features, out_type="int64")[0]
    even, odd = (tf.add_n([tf.shape(color, out_type="int64")[0] for color in colors[parity::2]]) for parity in (0, 1))
    halves = (
        _corners(simplex, corners[0], found.weights[::2], (points, even)),
        _corners(simplex, corners[1], found.weights[1::2], (points, odd)),
    )
    across, among_even = links(colors, key_of)
    axes = [Axis(_neighbors(pairs, (even, odd), features.dtype), None) for pairs in across]
    if among_even:
        within = [_neighbors(pairs, (even, even), features.dtype) for pairs in among_even]
        axes = [Axis(axis.across, one) for axis, one in zip(axes, within, strict=True)]
    return Lattice(halves, halves, tuple(axes))


def _corners(simplex: Any, corners: list[Any], weights: list[Any], shape: tuple[Any, Any]) -> Sparse:
    """A half of `S`, from the numbers of the corners of simplices and the weights of points, by color."""
    of_simplex = joined(tf.zeros_like(corners[0])[:, None], side_by_side(corners))
    point = joined(tf.range(tf.shape(simplex)[0])[:, None], 0)
    places = tf.reshape(apart(tf.gather(of_simplex, simplex) + point), [-1, 2])
    return Sparse(places, tf.reshape(side_by_side(weights), [-1]), tf.stack(shape))


def _neighbors(places: Any, shape: tuple[Any, Any], dtype: Any) -> Sparse:
    return Sparse(places, tf.fill(tf.shape(places)[:1], tf.constant(0.5, dtype)), tf.stack(shape))


def scaled(lattice: Lattice, before: Any = None, after: Any = None) -> Lattice:
    """The lattice whose filter multiplies each point by `before`, filters, and multiplies by `after`.

    Args:
        lattice: of `n` points.
        before: `[n, 1]`, or None for one.
        after: `[n, 1]`, or None for one.
    """
    splat = _per_point(lattice.splat, before)
    alike = before is after and lattice.splat is lattice.slice
    return lattice._replace(splat=splat, slice=splat if alike else _per_point(lattice.slice, after))


def _per_point(halves: tuple[Sparse, Sparse], scale: Any) -> tuple[Sparse, Sparse]:
    if scale is None:
        return halves
    points = tf.shape(scale)[0]
    even, odd = (tf.reshape(tf.reshape(half.values, [points, -1]) * scale, [-1]) for half in halves)
    return halves[0]._replace(values=even), halves[1]._replace(values=odd)


def splat(lattice: Lattice, values: Any) -> tuple[Any, Any]:
    """`S' x`: values of the points `[points, columns]` to those of the vertices of each half, `[vertices, columns]`."""
    even, odd = (_product(half, values, transposed=True) for half in lattice.splat)
    return even, odd


def slice_(lattice: Lattice, even: Any, odd: Any) -> Any:
    """`S v`: values of the vertices of each half to those of the points, `[points, columns]`."""
    return _product(lattice.slice[0], even) + _product(lattice.slice[1], odd)


def blur(lattice: Lattice, even: Any, odd: Any, reverse: bool = False) -> tuple[Any, Any]:
    """`B_d … B_0 v`, or `B_0 … B_d v`: values of the vertices of each half to the same shape."""
    for across, among_even in lattice.axes[::-1] if reverse else lattice.axes:
        addends = [even, _product(across, odd)]
        if among_even is not None:
            addends += [_product(among_even, even), _product(among_even, even, transposed=True)]
        even, odd = tf.add_n(addends), odd + _product(across, even, transposed=True)
    return even, odd


def filtered(lattice: Lattice, values: Any) -> Any:
    """Sums the values of all points, weighted by a Gaussian of their distance.

    The gradient runs over the same lattice and keeps nothing of the way there.

    Args:
        lattice: of the points.
        values: `[points, columns]`, of the type of the features.

    Returns:
        `[points, columns]`: approximately `sum_j exp(-|f_i - f_j|^2 / 2) values_j`, up to a factor that all points
        share more or less: it cancels out once the result is divided by that of ones.
    """

    @tf.custom_gradient
    def forth(values: Any) -> tuple[Any, Any]:
        return slice_(lattice, *blur(lattice, *splat(lattice, values))), lambda upstream: transposed(lattice, upstream)

    return forth(values)


def transposed(lattice: Lattice, values: Any) -> Any:
    """As `filtered`, by the transposed matrix: a lattice without all its vertices is not quite symmetric."""
    swapped = lattice._replace(splat=lattice.slice, slice=lattice.splat)
    return slice_(swapped, *blur(swapped, *splat(swapped, values), reverse=True))


def _product(matrix: Sparse, values: Any, transposed: bool = False) -> Any:
    def product(values: Any) -> Any:
        return tf.raw_ops.SparseTensorDenseMatMul(
            a_indices=matrix.places, a_values=matrix.values, a_shape=matrix.shape, b=values, adjoint_a=transposed
        )

    return _in_parts(values, MOST_COLUMNS, product)


def _in_parts(values: Any, most: int, compute: Callable[[Any], Any]) -> Any:
    """`compute(values)` for so many columns at a time, as evenly as they come."""
    columns = values.shape[1]
    if columns is None or columns <= most:
        return compute(values)
    parts = -(-columns // most)
    sizes = [columns // parts + (part < columns % parts) for part in range(parts)]
    return tf.concat([compute(part) for part in tf.split(values, sizes, axis=1)], 1)
