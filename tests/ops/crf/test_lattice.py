"""The permutohedral lattice, against a plain one made of dictionaries, and against itself."""

import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfseg.ops.crf.gaussian import gaussian_sums
from tfseg.ops.crf.lattice import blur, filtered, lattice, scaled, slice_, splat
from tfseg.ops.crf.lattice_keys import apart, joined, links, radices, vertices
from tfseg.ops.crf.simplex import descending, elevation, simplices


def points(count: int, dimensions: int, spread: float = 2.0) -> np.ndarray:
    return np.random.default_rng(dimensions).normal(size=(count, dimensions)) * spread


def corners(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each point the vertices of its simplex `[n, d + 1, d + 1]` and their weights: by definition, one by one."""
    size = features.shape[1] + 1
    elevated = features @ elevation(size - 1).T
    all_corners, all_weights = [], []
    for y in elevated:
        base = size * np.rint(y / size).astype(int)
        for _ in range(size):  # back into the hyperplane, a step at a time
            if base.sum() > 0:
                base[np.argmin(y - base)] -= size
            elif base.sum() < 0:
                base[np.argmax(y - base)] += size
        order = np.argsort(-(y - base), kind="stable")
        found = [base + color - size * np.isin(np.arange(size), order[size - color :]) for color in range(size)]
        # The weights solve a linear system: they sum to one and put the point where it is.
        system = np.vstack([np.transpose(found), np.ones(size)])
        all_weights.append(np.linalg.lstsq(system, np.append(y, 1), rcond=None)[0])
        all_corners.append(found)
    return np.array(all_corners), np.array(all_weights)


def plainly_filtered(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The lattice's filter, with a dictionary for its vertices."""
    found, weights = corners(features)
    size = found.shape[-1]
    table: dict[tuple[int, ...], np.ndarray] = {}
    for simplex, shares, value in zip(found, weights, values, strict=True):
        for corner, share in zip(map(tuple, simplex), shares, strict=True):
            table[corner] = table.get(corner, 0) + share * value
    for axis in range(size):
        step = 1 - size * (np.arange(size) == axis)
        table = {
            corner: value + 0.5 * sum(table.get(tuple(np.array(corner) + way * step), 0 * value) for way in (1, -1))
            for corner, value in table.items()
        }
    read = [
        sum(share * table[corner] for corner, share in zip(map(tuple, simplex), shares, strict=True))
        for simplex, shares in zip(found, weights, strict=True)
    ]
    return np.array(read) / (1 + 0.5 ** (size - 1))


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5, 8])
def test_filtering_is_that_of_a_plain_lattice(dimensions: int) -> None:
    features, values = points(60, dimensions), np.random.default_rng(0).normal(size=(60, 3))
    found = filtered(lattice(tf.constant(features)), tf.constant(values))
    np.testing.assert_allclose(found, plainly_filtered(features, values), atol=1e-6)
    single = filtered(lattice(tf.constant(features, "float32")), tf.constant(values, "float32"))
    np.testing.assert_allclose(single, found, atol=1e-4)


@pytest.mark.parametrize("dimensions", [1, 2, 5, 8])
def test_vertices_surround_their_point(dimensions: int) -> None:
    features = points(200, dimensions, spread=20)
    found = simplices(tf.constant(features))
    expected, weights = corners(features)
    np.testing.assert_allclose(np.stack(found.weights, 1), weights, atol=1e-6)
    assert np.min(found.weights) > -1e-7
    np.testing.assert_array_equal(np.sum(expected, -1), 0)
    np.testing.assert_array_equal(expected % (dimensions + 1), np.arange(dimensions + 1)[:, None] + 0 * expected)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_every_vertex_has_one_number_and_every_number_one_vertex(dimensions: int) -> None:
    """In its half: even and odd colors are numbered apart."""
    features = tf.constant(points(500, dimensions))
    found = simplices(features)
    simplex, halves, colors = vertices(found, radices(found))
    exact = corners(features.numpy())[0]
    for parity, numbers in enumerate(halves):
        number = np.ravel(np.stack(numbers, 1)[np.asarray(simplex)])
        places = exact[:, parity::2].reshape(-1, dimensions + 1)
        expected = np.unique(places, axis=0, return_inverse=True)[1].ravel()
        assert len(set(zip(number, expected, strict=True))) == len(set(number)) == len(set(expected))
        assert sum(len(color) for color in colors[parity::2]) == len(set(number)) == number.max() + 1


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5, 8])
def test_links_are_all_pairs_of_neighbors(dimensions: int) -> None:
    """Told by coordinates, one axis after the other."""
    features = points(40, dimensions)
    found = simplices(tf.constant(features))
    simplex, halves, colors = vertices(found, radices(found))
    exact, size = corners(features)[0], dimensions + 1
    place: list[dict[int, tuple[int, ...]]] = [{}, {}]
    for color in range(size):
        numbers = np.asarray(halves[color % 2][color // 2])[np.asarray(simplex)]
        place[color % 2].update(zip(numbers.tolist(), map(tuple, exact[:, color].tolist()), strict=True))
    vertex = {*place[0].values(), *place[1].values()}
    across, among_even = links(colors, radices(found))
    assert len(across) == size and len(among_even) == (0 if size % 2 == 0 else size)
    for axis in range(size):
        step = 1 - size * (np.arange(size) == axis)
        expected = {frozenset((one, after)) for one in vertex if (after := tuple((one + step).tolist())) in vertex}
        pairs = [(place[0][even], place[1][odd]) for even, odd in across[axis].numpy().tolist()]
        pairs += [(place[0][one], place[0][two]) for each in among_even[axis : axis + 1] for one, two in each.numpy()]
        assert len(pairs) == len(expected) and set(map(frozenset, pairs)) == expected


@pytest.mark.parametrize("order", ["little", "big"])
def test_pairs_of_numbers_come_apart_as_they_were_joined(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tf.constant([0, 5, 2**31 - 1]), tf.constant([7, 0, 2**31 - 1])
    straight, turned = np.stack([first, second], 1), np.stack([second, first], 1)
    expected = straight if order == sys.byteorder else turned  # as this machine takes apart what is for another
    monkeypatch.setattr(sys, "byteorder", order)
    np.testing.assert_array_equal(apart(joined(first, second)), expected)


def test_the_filter_is_a_gaussian_but_for_a_factor() -> None:
    features = np.stack(np.meshgrid(np.arange(40), np.arange(40)), -1).reshape(-1, 2) / 5.0
    values = np.zeros((1600, 1))
    values[820] = 1
    found = np.ravel(filtered(lattice(tf.constant(features)), tf.constant(values)))
    exact = np.ravel(gaussian_sums(tf.constant(values), tf.constant(features)))
    share = found.sum() / exact.sum()
    assert np.abs(found / share - exact).max() < 0.2
    spread = [np.sum(each[:, None] * (features - features[820]) ** 2) / each.sum() for each in (found, exact)]
    assert spread[0] == pytest.approx(spread[1], rel=0.1)


def test_slicing_is_the_transpose_of_splatting_and_blurring_of_blurring_in_reverse() -> None:
    for dimensions in (3, 4):
        built = lattice(tf.constant(points(80, dimensions)))
        generator = np.random.default_rng(0)
        x = generator.normal(size=(80, 2))
        v, u = ([tf.constant(generator.normal(size=(int(half.shape[1]), 2))) for half in built.slice] for _ in "vu")
        assert dot(splat(built, x), v) == pytest.approx(np.sum(x * slice_(built, *v)))
        assert dot(blur(built, *v), u) == pytest.approx(dot(v, blur(built, *u, reverse=True)))


def dot(one: Sequence[Any], other: Sequence[Any]) -> float:
    """Of values of the vertices, in two halves."""
    return float(sum(np.sum(a * b) for a, b in zip(one, other, strict=True)))


def test_gradients_of_a_scaled_filter() -> None:
    before, after = np.random.default_rng(0).uniform(0.5, 2, (2, 30, 1))
    built = scaled(lattice(tf.constant(points(30, 2, 0.5))), tf.constant(before), tf.constant(after))
    x = np.random.default_rng(1).normal(size=(30, 2))
    plain = lattice(tf.constant(points(30, 2, 0.5)))
    np.testing.assert_allclose(filtered(built, x), after * filtered(plain, tf.constant(before * x)), atol=1e-12)
    (expected,), (found,) = tf.test.compute_gradient(lambda x: filtered(built, x), [tf.constant(x)])
    np.testing.assert_allclose(expected, found, atol=1e-6)


@pytest.mark.parametrize("columns", [28, 29, 60])
def test_many_columns_are_as_good_as_each_alone(columns: int) -> None:
    built = lattice(tf.constant(points(50, 2)))
    x = tf.constant(np.random.default_rng(0).normal(size=(50, columns)))
    alone = [filtered(built, x[:, column : column + 1]) for column in range(columns)]
    np.testing.assert_allclose(filtered(built, x), tf.concat(alone, 1), atol=1e-12)


def test_one_point_and_equal_points() -> None:
    for features in (np.zeros((1, 5)), np.full((7, 5), 0.3)):
        built = lattice(tf.constant(features, "float32"))
        assert [int(half.shape[1]) for half in built.slice] == [3, 3]
        ones = np.ravel(filtered(built, tf.ones([len(features), 1])))
        np.testing.assert_allclose(ones, ones[0], rtol=1e-6)


def test_unknown_number_of_points() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None, 2])])
    def graph(features: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        return filtered(lattice(features), values)

    for count in (3, 50):
        features, values = points(count, 3).astype("float32"), np.ones((count, 2), "float32")
        np.testing.assert_allclose(graph(features, values), filtered(lattice(tf.constant(features)), values), atol=1e-5)


@pytest.mark.parametrize("features", [points(50, 5, 1e3), np.array([[0.0, 0], [1e6, 0]]), points(20, 20, 30.0)])
def test_keys_that_would_overflow_are_refused(features: np.ndarray) -> None:
    size = features.shape[1]
    text = (
        "Points are too far apart for the lattice, in standard deviations of the filter: its coordinates must stay "
        f"below 2^20, and the product of the ranges of {size} of them below 2^62. Take larger ones "
        "(theta_alpha and theta_beta, if this is a CRF). These are the ranges."
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        lattice(tf.constant(features))


def test_descending() -> None:
    values = np.random.default_rng(0).integers(-3, 3, (7, 100))
    np.testing.assert_array_equal(descending(list(values)), -np.sort(-values, axis=0))
