"""Permutohedral lattice, compared with a reference implementation with dictionaries, and its consistency."""

import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfseg.ops.crf.gaussian import gaussian_sums
from tfseg.ops.crf.lattice import blur, filtered, lattice, scaled, slice_, splat
from tfseg.ops.crf.lattice_keys import neighbors, pack, radices, unpack, vertices
from tfseg.ops.crf.simplex import descending, elevation, simplices


def points(count: int, dimensions: int, spread: float = 2.0) -> np.ndarray:
    return np.random.default_rng(dimensions).normal(size=(count, dimensions)) * spread


def corners(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the vertices of each point's simplex `[n, d + 1, d + 1]` and their weights by definition, one by one."""
    size = features.shape[1] + 1
    elevated = features @ elevation(size - 1).T
    all_corners, all_weights = [], []
    for y in elevated:
        base = size * np.rint(y / size).astype(int)
        for _ in range(size):  # moves `base` into the hyperplane, a step at a time
            if base.sum() > 0:
                base[np.argmin(y - base)] -= size
            elif base.sum() < 0:
                base[np.argmax(y - base)] += size
        order = np.argsort(-(y - base), kind="stable")
        simplex = [base + color - size * np.isin(np.arange(size), order[size - color :]) for color in range(size)]
        # The weights solve a linear system: their sum is one, and the weighted sum of the vertices is the point.
        system = np.vstack([np.transpose(simplex), np.ones(size)])
        all_weights.append(np.linalg.lstsq(system, np.append(y, 1), rcond=None)[0])
        all_corners.append(simplex)
    return np.array(all_corners), np.array(all_weights)


def reference_filter(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Filters on a lattice with a dictionary of its vertices."""
    all_corners, all_weights = corners(features)
    size = all_corners.shape[-1]
    table: dict[tuple[int, ...], np.ndarray] = {}
    for simplex, weights, value in zip(all_corners, all_weights, values, strict=True):
        for corner, weight in zip(map(tuple, simplex), weights, strict=True):
            table[corner] = table.get(corner, 0) + weight * value
    for axis in range(size):
        step = 1 - size * (np.arange(size) == axis)
        table = {
            corner: value + 0.5 * sum(table.get(tuple(np.array(corner) + sign * step), 0 * value) for sign in (1, -1))
            for corner, value in table.items()
        }
    sliced = [
        sum(weight * table[corner] for corner, weight in zip(map(tuple, simplex), weights, strict=True))
        for simplex, weights in zip(all_corners, all_weights, strict=True)
    ]
    return np.array(sliced) / (1 + 0.5 ** (size - 1))


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5, 8])
def test_filter_matches_reference(dimensions: int) -> None:
    features, values = points(60, dimensions), np.random.default_rng(0).normal(size=(60, 3))
    double = filtered(lattice(tf.constant(features)), tf.constant(values))
    np.testing.assert_allclose(double, reference_filter(features, values), atol=1e-6)
    single = filtered(lattice(tf.constant(features, "float32")), tf.constant(values, "float32"))
    np.testing.assert_allclose(single, double, atol=1e-4)


@pytest.mark.parametrize("dimensions", [1, 2, 5, 8])
def test_barycentric_weights(dimensions: int) -> None:
    features = points(200, dimensions, spread=20)
    around = simplices(tf.constant(features))
    expected, weights = corners(features)
    np.testing.assert_allclose(np.stack(around.weights, 1), weights, atol=1e-6)
    assert np.min(around.weights) > -1e-7
    np.testing.assert_array_equal(np.sum(expected, -1), 0)
    np.testing.assert_array_equal(expected % (dimensions + 1), np.arange(dimensions + 1)[:, None] + 0 * expected)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_vertex_numbers_are_unique(dimensions: int) -> None:
    """Vertices of even and of odd colors are numbered separately."""
    features = tf.constant(points(500, dimensions))
    around = simplices(features)
    simplex, halves, colors = vertices(around, radices(around))
    exact = corners(features.numpy())[0]
    for parity, numbers in enumerate(halves):
        number = np.ravel(np.stack(numbers, 1)[np.asarray(simplex)])
        coordinates = exact[:, parity::2].reshape(-1, dimensions + 1)
        expected = np.unique(coordinates, axis=0, return_inverse=True)[1].ravel()
        assert len(set(zip(number, expected, strict=True))) == len(set(number)) == len(set(expected))
        assert sum(len(color) for color in colors[parity::2]) == len(set(number)) == number.max() + 1


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5, 8])
def test_neighbors_match_coordinates(dimensions: int) -> None:
    features = points(40, dimensions)
    around = simplices(tf.constant(features))
    simplex, halves, colors = vertices(around, radices(around))
    exact, size = corners(features)[0], dimensions + 1
    position: list[dict[int, tuple[int, ...]]] = [{}, {}]
    for color in range(size):
        numbers = np.asarray(halves[color % 2][color // 2])[np.asarray(simplex)]
        position[color % 2].update(zip(numbers.tolist(), map(tuple, exact[:, color].tolist()), strict=True))
    vertex = {*position[0].values(), *position[1].values()}
    across, among_even = neighbors(colors, radices(around))
    assert len(across) == size and len(among_even) == (0 if size % 2 == 0 else size)
    for axis in range(size):
        step = 1 - size * (np.arange(size) == axis)
        expected = {frozenset((one, after)) for one in vertex if (after := tuple((one + step).tolist())) in vertex}
        even = position[0]
        pairs = [(even[one], position[1][two]) for one, two in across[axis].numpy().tolist()]
        pairs += [(even[one], even[two]) for each in among_even[axis : axis + 1] for one, two in each.numpy()]
        assert len(pairs) == len(expected) and set(map(frozenset, pairs)) == expected


@pytest.mark.parametrize("order", ["little", "big"])
def test_packing_depends_on_the_byte_order(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tf.constant([0, 5, 2**31 - 1]), tf.constant([7, 0, 2**31 - 1])
    same, swapped = np.stack([first, second], 1), np.stack([second, first], 1)
    expected = same if order == sys.byteorder else swapped  # unpacking uses the byte order of this machine
    monkeypatch.setattr(sys, "byteorder", order)
    np.testing.assert_array_equal(unpack(pack(first, second)), expected)


def test_filter_is_gaussian_up_to_a_factor() -> None:
    features = np.stack(np.meshgrid(np.arange(40), np.arange(40)), -1).reshape(-1, 2) / 5.0
    values = np.zeros((1600, 1))
    values[820] = 1
    result = np.ravel(filtered(lattice(tf.constant(features)), tf.constant(values)))
    exact = np.ravel(gaussian_sums(tf.constant(values), tf.constant(features)))
    factor = result.sum() / exact.sum()
    assert np.abs(result / factor - exact).max() < 0.2
    variances = [np.sum(each[:, None] * (features - features[820]) ** 2) / each.sum() for each in (result, exact)]
    assert variances[0] == pytest.approx(variances[1], rel=0.1)


def test_slice_and_reverse_blur_are_transposes() -> None:
    for dimensions in (3, 4):
        built = lattice(tf.constant(points(80, dimensions)))
        generator = np.random.default_rng(0)
        x = generator.normal(size=(80, 2))
        v, u = ([tf.constant(generator.normal(size=(int(half.shape[1]), 2))) for half in built.slice] for _ in "vu")
        assert dot(splat(built, x), v) == pytest.approx(np.sum(x * slice_(built, *v)))
        assert dot(blur(built, *v), u) == pytest.approx(dot(v, blur(built, *u, reverse=True)))


def dot(one: Sequence[Any], other: Sequence[Any]) -> float:
    """Computes the inner product of values of the vertices, in two halves."""
    return float(sum(np.sum(a * b) for a, b in zip(one, other, strict=True)))


def test_gradients_of_a_scaled_filter() -> None:
    before, after = np.random.default_rng(0).uniform(0.5, 2, (2, 30, 1))
    built = scaled(lattice(tf.constant(points(30, 2, 0.5))), tf.constant(before), tf.constant(after))
    x = np.random.default_rng(1).normal(size=(30, 2))
    plain = lattice(tf.constant(points(30, 2, 0.5)))
    np.testing.assert_allclose(filtered(built, x), after * filtered(plain, tf.constant(before * x)), atol=1e-12)
    (analytic,), (numeric,) = tf.test.compute_gradient(lambda x: filtered(built, x), [tf.constant(x)])
    np.testing.assert_allclose(analytic, numeric, atol=1e-6)


@pytest.mark.parametrize("columns", [28, 29, 60])
def test_columns_are_filtered_independently(columns: int) -> None:
    built = lattice(tf.constant(points(50, 2)))
    x = tf.constant(np.random.default_rng(0).normal(size=(50, columns)))
    separate = [filtered(built, x[:, column : column + 1]) for column in range(columns)]
    np.testing.assert_allclose(filtered(built, x), tf.concat(separate, 1), atol=1e-12)


def test_single_and_equal_points() -> None:
    for features in (np.zeros((1, 5)), np.full((7, 5), 0.3)):
        built = lattice(tf.constant(features, "float32"))
        assert [int(half.shape[1]) for half in built.slice] == [3, 3]
        ones = np.ravel(filtered(built, tf.ones([len(features), 1])))
        np.testing.assert_allclose(ones, ones[0], rtol=1e-6)


def test_graph_for_an_unknown_number_of_points() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None, 2])])
    def graph(features: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        return filtered(lattice(features), values)

    for count in (3, 50):
        features, values = points(count, 3).astype("float32"), np.ones((count, 2), "float32")
        np.testing.assert_allclose(graph(features, values), filtered(lattice(tf.constant(features)), values), atol=1e-5)


@pytest.mark.parametrize("features", [points(50, 5, 1e3), np.array([[0.0, 0], [1e6, 0]]), points(20, 20, 30.0)])
def test_overflowing_keys_are_rejected(features: np.ndarray) -> None:
    size = features.shape[1]
    text = (
        "The features are too far apart for the permutohedral lattice. Its coordinates must be below 2^20, and the "
        f"product of their {size} ranges below 2^62. Increase the standard deviations of the filter (theta_alpha and "
        "theta_beta of a CRF). The ranges are shown."
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        lattice(tf.constant(features))


def test_descending_sort() -> None:
    values = np.random.default_rng(0).integers(-3, 3, (7, 100))
    np.testing.assert_array_equal(descending(list(values)), -np.sort(-values, axis=0))
