"""Permutohedral lattice: Gaussian filtering in `d` dimensions, in time linear in the number of points.

`y = S B_d … B_0 S' x`: *splat* distributes the value of each point over the vertices of its simplex (`S'`), *blur*
convolves with `(1/2, 1, 1/2)` along each of the `d + 1` axes of the lattice, and *slice* interpolates at the points
(`S`). Only the vertices of simplices that contain points are stored. `S` and `B_j` are sparse matrices, built once per
image and used by every filtering and its gradient. Splat is the transpose of slice and each `B_j` is symmetric, so the
gradient is the same filter with the axes in reverse order.

The vertices are stored in two halves, of even and of odd color. Neighbors along an axis differ in parity, so `B_j` is
`[[1, P_j / 2], [P_j' / 2, 1]]`: every product splits into two that run in parallel, each over half of the memory.
(TensorFlow computes a sparse matrix product in a single thread.) If `d` is even, the first and the last color are both
even, and `B_j` has an additional block for the neighbors with these colors.

The symbols follow Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice",
Eurographics 2010, section 3.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from tfseg.ops.crf.lattice_keys import neighbors, pack, radices, stack_columns, unpack, vertices
from tfseg.ops.crf.simplex import simplices
from tfseg.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

MAX_COLUMNS = 28
"""Maximum number of columns of a sparse matrix product. From 32 on, TensorFlow is several times slower per column."""


class Sparse(NamedTuple):
    """Sparse matrix."""

    indices: Tensor
    """Row and column of each entry, int32 `[entries, 2]`."""
    values: Tensor
    """Values of the entries, `[entries]`."""
    shape: Tensor
    """Number of rows and columns, int64 `[2]`."""


class Axis(NamedTuple):
    """Blur along one axis: the matrix `B_j` without the identity."""

    across: Sparse
    """`P_j / 2`, from odd to even vertices."""
    among_even: Sparse | None
    """One half for each pair of neighbors that are both even, or `None` if there are no such pairs."""


class Lattice(NamedTuple):
    """Sparse matrices of the lattice of a set of points. Pairs hold the even and the odd half."""

    splat: tuple[Sparse, Sparse]
    """Matrix `S` whose transpose splats: barycentric weights divided by `sqrt(1 + 2^-d)`."""
    slice: tuple[Sparse, Sparse]
    """Matrix `S` that slices: the same as `splat`, unless `scaled` multiplies the two by different factors."""
    axes: tuple[Axis, ...]
    """Blur along each axis."""


def lattice(features: Tensor) -> Lattice:
    """Builds the lattice of a set of points.

    Args:
        features: Floating-point tensor `[points, dimensions]`, coordinates in standard deviations of the filter.

    Returns:
        `Lattice` for `filtered`.

    Raises:
        tf.errors.InvalidArgumentError: At run time, if the range of the features is so large that keys would overflow.
    """
    # The blur weights the own value of a vertex by 1 + 2^-d. Splat and slice each divide by the square root of this.
    around = simplices(features, total=(1 + 0.5 ** features.shape[1]) ** -0.5)
    key_of = radices(around)
    simplex, corners, colors = vertices(around, key_of)
    points = tf.shape(features, out_type="int64")[0]
    even, odd = (tf.add_n([tf.shape(color, out_type="int64")[0] for color in colors[parity::2]]) for parity in (0, 1))
    halves = (
        _corners(simplex, corners[0], around.weights[::2], (points, even)),
        _corners(simplex, corners[1], around.weights[1::2], (points, odd)),
    )
    across, among_even = neighbors(colors, key_of)
    axes = [Axis(_neighbors(pairs, (even, odd), features.dtype), None) for pairs in across]
    if among_even:
        within = [_neighbors(pairs, (even, even), features.dtype) for pairs in among_even]
        axes = [Axis(axis.across, one) for axis, one in zip(axes, within, strict=True)]
    return Lattice(halves, halves, tuple(axes))


def _corners(simplex: Tensor, corners: list[Tensor], weights: list[Tensor], shape: tuple[Any, Any]) -> Sparse:
    """Returns a half of `S` from the vertex numbers of the simplices and the weights of the points, by color."""
    of_simplex = pack(tf.zeros_like(corners[0])[:, None], stack_columns(corners))
    point = pack(tf.range(tf.shape(simplex)[0])[:, None], 0)
    indices = tf.reshape(unpack(tf.gather(of_simplex, simplex) + point), [-1, 2])
    return Sparse(indices, tf.reshape(stack_columns(weights), [-1]), tf.stack(shape))


def _neighbors(indices: Tensor, shape: tuple[Any, Any], dtype: Any) -> Sparse:
    return Sparse(indices, tf.fill(tf.shape(indices)[:1], tf.constant(0.5, dtype)), tf.stack(shape))


def scaled(lattice: Lattice, before: Tensor | None = None, after: Tensor | None = None) -> Lattice:
    """Returns a lattice whose filter multiplies the values by `before` and the result by `after`.

    Args:
        lattice: Lattice of `n` points.
        before: Tensor `[n, 1]`, or `None` for ones.
        after: Tensor `[n, 1]`, or `None` for ones.
    """
    splat = _per_point(lattice.splat, before)
    alike = before is after and lattice.splat is lattice.slice
    return lattice._replace(splat=splat, slice=splat if alike else _per_point(lattice.slice, after))


def _per_point(halves: tuple[Sparse, Sparse], scale: Tensor) -> tuple[Sparse, Sparse]:
    if scale is None:
        return halves
    points = tf.shape(scale)[0]
    even, odd = (tf.reshape(tf.reshape(half.values, [points, -1]) * scale, [-1]) for half in halves)
    return halves[0]._replace(values=even), halves[1]._replace(values=odd)


def splat(lattice: Lattice, values: Tensor) -> tuple[Tensor, Tensor]:
    """Computes `S' x`: from values `[points, columns]` to the values of each half's vertices, `[vertices, columns]`."""
    even, odd = (_product(half, values, transposed=True) for half in lattice.splat)
    return even, odd


def slice_(lattice: Lattice, even: Tensor, odd: Tensor) -> Tensor:
    """Computes `S v`: from the values of each half's vertices to those of the points, `[points, columns]`."""
    return _product(lattice.slice[0], even) + _product(lattice.slice[1], odd)


def blur(lattice: Lattice, even: Tensor, odd: Tensor, reverse: bool = False) -> tuple[Tensor, Tensor]:
    """Computes `B_d … B_0 v`, or `B_0 … B_d v` if `reverse`, for the values of each half's vertices."""
    for across, among_even in lattice.axes[::-1] if reverse else lattice.axes:
        addends = [even, _product(across, odd)]
        if among_even is not None:
            addends += [_product(among_even, even), _product(among_even, even, transposed=True)]
        even, odd = tf.add_n(addends), odd + _product(across, even, transposed=True)
    return even, odd


def filtered(lattice: Lattice, values: Tensor) -> Tensor:
    """Applies an approximate Gaussian filter: `y_i ~ sum_j exp(-|f_i - f_j|^2 / 2) values_j`.

    The result differs from the exact sums by a factor that is similar for all points. Dividing by the result for a
    tensor of ones removes this factor. The gradient is computed on the same lattice and stores no intermediate values.

    Args:
        lattice: Lattice of the points.
        values: Tensor `[points, columns]` of the type of the features.

    Returns:
        Tensor `[points, columns]`.
    """

    @tf.custom_gradient
    def forward(values: Tensor) -> tuple[Tensor, Any]:
        return slice_(lattice, *blur(lattice, *splat(lattice, values))), lambda upstream: transposed(lattice, upstream)

    return forward(values)


def transposed(lattice: Lattice, values: Tensor) -> Tensor:
    """Applies the transpose of `filtered`. Even unscaled, the two differ slightly, as unused vertices are missing."""
    swapped = lattice._replace(splat=lattice.slice, slice=lattice.splat)
    return slice_(swapped, *blur(swapped, *splat(swapped, values), reverse=True))


def _product(matrix: Sparse, values: Tensor, transposed: bool = False) -> Tensor:
    def product(values: Tensor) -> Tensor:
        return tf.raw_ops.SparseTensorDenseMatMul(
            a_indices=matrix.indices, a_values=matrix.values, a_shape=matrix.shape, b=values, adjoint_a=transposed
        )

    return _in_parts(values, MAX_COLUMNS, product)


def _in_parts(values: Tensor, max_columns: int, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """Computes `compute(values)` for at most `max_columns` columns at a time, in parts of similar size."""
    columns = values.shape[1]
    if columns is None or columns <= max_columns:
        return compute(values)
    parts = -(-columns // max_columns)
    sizes = [columns // parts + (part < columns % parts) for part in range(parts)]
    return tf.concat([compute(part) for part in tf.split(values, sizes, axis=1)], 1)
