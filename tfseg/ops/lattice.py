"""The permutohedral lattice: Gaussian filtering in any number of dimensions, in time linear in the points.

`y = S B_d … B_0 S' x`: *splat* spreads the value of each point over the vertices of its simplex (`S'`), *blur* runs
`(1/2, 1, 1/2)` along each of the `d + 1` axes of the lattice, *slice* reads at the points (`S`). Only vertices that
some point uses exist. `S` and `B_j` are sparse matrices, built once for an image and used by every filtering and by its
gradient: splat is slice transposed, each `B_j` is symmetric, so the gradient is the same with the axes in reverse.

Symbols are those of Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice",
Eurographics 2010, section 3.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from tfseg.ops.lattice_keys import neighbours, radices, side_by_side, vertices
from tfseg.ops.simplex import simplices

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

MOST_COLUMNS = 28
"""TensorFlow's product with a sparse matrix is several times slower for each column from 32 columns on."""
BLURRED_COLUMNS = 12
"""Blurred at a time: the values of vertices stay in a processor's cache, and other processors have their own part."""


class Lattice(NamedTuple):
    """What filtering needs to know of a set of points. Sparse matrices are places `[entries, 2]` and their values."""

    places: Any
    """Of `S`: point and vertex, int32, `d + 1` rows for each point."""
    splat_weights: Any
    """For splatting: the barycentric weights of `S`, in the order of `places`, scaled so that a blur preserves sums."""
    slice_weights: Any
    """For slicing: the same, unless one of the two has absorbed a scale of the points."""
    axes: tuple[tuple[Any, Any], ...]
    """Of each `B_j`: the places of its entries and their values, those on the diagonal first."""
    points: Any
    """How many points there are, int64."""
    vertices: Any
    """How many vertices there are, int64."""


def lattice(features: Any) -> Lattice:
    """Builds the lattice of a set of points.

    Args:
        features: `[points, dimensions]`, floating: places in units of the filter's standard deviation.

    Returns:
        The lattice, for `filtered`.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, features that are so far apart that keys would overflow.
    """
    found = simplices(features)
    key_of = radices(found)
    simplex, corners, colours = vertices(found, key_of)
    axes = tuple(_entries(following, features.dtype) for following in neighbours(colours, key_of))
    corner = tf.gather(corners, simplex)
    point = tf.repeat(tf.range(tf.shape(corner)[0]), tf.shape(corner)[1])
    # The blur multiplies a constant by 1 + 2^-d: that much is taken off, half when splatting and half when slicing.
    scale = (1 + 0.5 ** features.shape[1]) ** -0.5
    weights = tf.reshape(side_by_side(found.weights) * tf.cast(scale, features.dtype), [-1])
    places = side_by_side([point, tf.reshape(corner, [-1])])
    count = tf.add_n([tf.shape(colour, out_type="int64")[0] for colour in colours])
    return Lattice(places, weights, weights, axes, tf.shape(features, out_type="int64")[0], count)


def _entries(following: Any, dtype: Any) -> tuple[Any, Any]:
    """The entries of `B_j`, from the next vertex of each along the axis, or -1 where there is none."""
    vertex = tf.range(tf.shape(following)[0])
    one = tf.cast(tf.where(following >= 0)[:, 0], "int32")
    other = tf.gather(following, one)
    # The two entries of a pair stand together: what the product reads and writes for one is at hand for the other.
    pairs = tf.reshape(side_by_side([one, other, other, one]), [-1, 2])
    values = tf.concat([tf.ones_like(vertex, dtype), tf.fill([2 * tf.shape(one)[0]], tf.constant(0.5, dtype))], 0)
    return tf.concat([side_by_side([vertex, vertex]), pairs], 0), values


def scaled(lattice: Lattice, before: Any = None, after: Any = None) -> Lattice:
    """The lattice whose filter multiplies each point by `before`, filters, and multiplies by `after`.

    Args:
        lattice: of `n` points.
        before: `[n, 1]`, or None for one.
        after: `[n, 1]`, or None for one.
    """
    return lattice._replace(
        splat_weights=_per_point(lattice.splat_weights, before), slice_weights=_per_point(lattice.slice_weights, after)
    )


def _per_point(weights: Any, scale: Any) -> Any:
    return weights if scale is None else tf.reshape(tf.reshape(weights, [tf.shape(scale)[0], -1]) * scale, [-1])


def splat(lattice: Lattice, values: Any) -> Any:
    """`S' x`: values of the points `[points, columns]` to `[vertices, columns]`."""
    shape = (lattice.points, lattice.vertices)
    return _product(lattice.places, lattice.splat_weights, shape, values, transposed=True)


def slice_(lattice: Lattice, values: Any) -> Any:
    """`S v`: values of the vertices `[vertices, columns]` to `[points, columns]`."""
    return _product(lattice.places, lattice.slice_weights, (lattice.points, lattice.vertices), values)


def blur(lattice: Lattice, values: Any, reverse: bool = False) -> Any:
    """`B_d … B_0 v`, or `B_0 … B_d v`: values of the vertices to the same shape."""
    return _in_parts(values, BLURRED_COLUMNS, lambda part: _blurred(lattice, part, reverse))


def _blurred(lattice: Lattice, values: Any, reverse: bool) -> Any:
    for places, weights in lattice.axes[::-1] if reverse else lattice.axes:
        values = _product(places, weights, (lattice.vertices, lattice.vertices), values)
    return values


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

    transposed = lattice._replace(splat_weights=lattice.slice_weights, slice_weights=lattice.splat_weights)

    @tf.custom_gradient
    def forth(values: Any) -> tuple[Any, Any]:
        def back(upstream: Any) -> Any:
            return slice_(transposed, blur(transposed, splat(transposed, upstream), reverse=True))

        return slice_(lattice, blur(lattice, splat(lattice, values))), back

    return forth(values)


def _product(places: Any, weights: Any, shape: tuple[Any, Any], values: Any, transposed: bool = False) -> Any:
    def product(values: Any) -> Any:
        return tf.raw_ops.SparseTensorDenseMatMul(
            a_indices=places, a_values=weights, a_shape=tf.stack(shape), b=values, adjoint_a=transposed
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
