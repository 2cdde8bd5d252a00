"""Geometric ops against NumPy and SciPy: right angles, padding, aspect ratio, affine transformation, distortion."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tests.data.augment.inputs import MEAN, noise, photo, run, seeds
from tfseg.data import Affine, Elastic, GridDistortion, Pad, Rot90, Scale
from tfseg.data.augment import View
from tfseg.spec.problems import SpecError

IGNORE = 60000
VIEW = View(IGNORE, fill=MEAN)


def pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image of noise, and a mask with another id for every pixel."""
    return noise(height, width), np.arange(height * width, dtype=np.int32).reshape(height, width)


def scipy_pair(image: np.ndarray, mask: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples an image and a mask at positions `[2, height, width]`, in double precision."""
    padded = np.pad(image.astype(float), [(1, 1), (1, 1), (0, 0)])
    for channel, fill in enumerate(MEAN):
        padded[..., channel] = np.pad(image[..., channel].astype(float), 1, constant_values=fill)
    sampled = [
        ndimage.map_coordinates(padded[..., channel], positions + 1, order=1, mode="constant", cval=fill)
        for channel, fill in enumerate(MEAN)
    ]
    nearest = np.floor(positions + 0.5).astype(int)
    return np.stack(sampled, -1), ndimage.map_coordinates(mask, nearest, order=0, mode="constant", cval=IGNORE)


def check_sampled(op: Any, positions: np.ndarray, seed: tf.Tensor, size: tuple[int, int]) -> None:
    """Compares an op with SciPy. The mask may differ where the position is within 0.001 pixels of a border."""
    image, mask = pair(*size)
    new_image, new_mask = run(op, image.astype(np.float32), mask, seed, VIEW)
    expected_image, expected_mask = scipy_pair(image, mask, positions)
    np.testing.assert_allclose(new_image, expected_image, atol=0.1)
    edge = (np.abs((positions + 0.5) % 1 - 0.5) > 0.499).any(0)
    np.testing.assert_array_equal(new_mask[~edge], expected_mask[~edge])
    assert edge.mean() < 0.05


def test_right_angles() -> None:
    image, mask = pair(7, 12)
    turns = set()
    for seed in seeds(30):
        new_image, new_mask = run(Rot90(probability=1), image, mask, seed, VIEW)
        (turn,) = [k for k in range(4) if np.array_equal(new_mask, np.rot90(mask, k))]
        np.testing.assert_array_equal(new_image, np.rot90(image, turn))
        turns.add(turn)
    assert turns == {1, 2, 3}


@pytest.mark.parametrize(("size", "shape"), [(20, (20, 20)), ((4, 31), (13, 31)), ((40, 2), (40, 17)), (1, (13, 17))])
def test_padding_to_a_size(size: Any, shape: tuple[int, int]) -> None:
    image, mask = pair(13, 17)
    starts = set()
    for seed in seeds(12):
        new_image, new_mask = run(Pad(size=size), image, mask, seed, VIEW)
        assert new_mask.shape == shape
        starts.add(_checked_padding(image, mask, new_image, new_mask)[:2])
    assert (len(starts) == 1) == (shape == (13, 17))
    assert len(starts) <= (shape[0] - 12) * (shape[1] - 16)


def _checked_padding(
    image: np.ndarray, mask: np.ndarray, new_image: np.ndarray, new_mask: np.ndarray
) -> tuple[int, int, int, int]:
    """Checks a padded pair, and returns the padding: top, left, bottom, right."""
    height, width = mask.shape
    ((top,), (left,)) = np.nonzero(new_mask == mask[0, 0])
    inside = (slice(top, top + height), slice(left, left + width))
    np.testing.assert_array_equal(new_mask[inside], mask)
    np.testing.assert_array_equal(new_image[inside], image)
    outside = np.ones(new_mask.shape, bool)
    outside[inside] = False
    assert (new_mask[outside] == IGNORE).all() and (new_image[outside] == MEAN).all()
    return int(top), int(left), new_mask.shape[0] - height - int(top), new_mask.shape[1] - width - int(left)


def test_padding_by_fractions() -> None:
    image, mask = pair(20, 30)
    sides = []
    for seed in seeds(40):
        sides.append(_checked_padding(image, mask, *run(Pad(fraction=0.4), image, mask, seed, VIEW)))
    found = np.array(sides)
    np.testing.assert_array_equal(found.max(0) <= [8, 12, 8, 12], True)
    assert (found.max(0) >= [6, 10, 6, 10]).all() and (found.min(0) <= [2, 2, 2, 2]).all()
    assert len({tuple(each) for each in sides}) > 30


def test_size_or_fraction() -> None:
    with pytest.raises(SpecError, match=r"fraction: expected size or fraction; received 8 and 0\.1"):
        Pad(size=8, fraction=0.1)


def test_aspect_of_scale() -> None:
    image, mask = pair(100, 100)
    ratios = []
    for seed in seeds(40):
        height, width = run(Scale(factors=(1.0,), aspect=2.0), image, mask, seed, VIEW)[1].shape
        ratios.append(height / width)
        assert abs(height * width - 10000) < 150
    assert 0.49 <= min(ratios) < 0.65 and 1.55 < max(ratios) <= 2.04
    assert 12 <= sum(ratio > 1 for ratio in ratios) <= 28


def test_affine_against_scipy() -> None:
    """Maximum error 0.1 of 255: the op computes positions in float32."""
    op = Affine(scale=(0.5, 2.0), aspect=1.5, shear=20, degrees=180, translate=0.3)
    size = (37, 50)
    for seed in seeds(6):
        matrix, shift = (each.numpy().astype(float) for each in op.drawn(seed))
        center = (np.array(size) - 1) / 2
        output = np.stack(np.mgrid[: size[0], : size[1]]) - (center + shift * size)[:, None, None]
        positions = np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), output) + center[:, None, None]
        check_sampled(op, positions, seed, size)


def test_draws_of_affine_are_within_their_bounds() -> None:
    op = Affine(scale=(0.5, 1.5), aspect=1.44, shear=0, degrees=20, translate=0.25)
    found = [[each.numpy() for each in op.drawn(seed)] for seed in seeds(100)]
    factors = np.array([np.linalg.norm(matrix, axis=0) for matrix, _ in found])  # columns of rotation @ diagonal
    angles = np.degrees([np.arctan2(-matrix[1, 0], matrix[0, 0]) for matrix, _ in found])
    bounds = [
        (np.sqrt(factors.prod(1)), 0.5, 1.5),
        (factors[:, 0] / factors[:, 1], 1 / 1.44, 1.44),
        (angles, -20, 20),
        *((np.array([shift[axis] for _, shift in found]), -0.25, 0.25) for axis in (0, 1)),
    ]
    for values, low, high in bounds:
        width = high - low
        assert low - 1e-3 <= values.min() < low + 0.1 * width and high - 0.1 * width < values.max() <= high + 1e-3


def test_shear_keeps_one_axis() -> None:
    tangents = []
    for seed in seeds(30):
        matrix = Affine(scale=(1, 1), shear=30, degrees=0, translate=0).drawn(seed)[0].numpy()
        np.testing.assert_allclose(np.diag(matrix), 1)
        tangents += [matrix[0, 1], matrix[1, 0]]
    assert np.tan(np.radians(25)) < np.abs(tangents).max() <= np.tan(np.radians(30)) + 1e-6


def test_direction_of_affine() -> None:
    """Positive shifts move the image down and to the right; a factor above 1 enlarges it."""
    image, mask = pair(40, 50)
    seed = seeds(1)[0]
    op = Affine(scale=(1, 1), shear=0, degrees=0, translate=0.3)
    down, right = np.round(op.drawn(seed)[1].numpy() * (40, 50)).astype(int)
    moved = run(op, image, mask, seed, VIEW)[1]
    np.testing.assert_array_equal(moved, ndimage.shift(mask, (down, right), order=0, cval=IGNORE))
    large = run(Affine(scale=(2, 2), shear=0, degrees=0, translate=0), image, mask, seed, VIEW)[1]
    assert 20 * 25 <= len(np.unique(large)) <= 21 * 26


def test_elastic_against_scipy() -> None:
    op, size = Elastic(alpha=3, sigma=5), (40, 33)
    for seed in seeds(3):
        moves = op.displacements(*size, seed).numpy().astype(float)
        check_sampled(op, np.mgrid[: size[0], : size[1]] + moves, seed, size)


def test_displacements_are_filtered_white_noise() -> None:
    """Compares the covariance with that of `scipy.ndimage.gaussian_filter`, and the standard deviation with `alpha`."""
    alpha, sigma, size = 4.0, 6.0, 700
    field = Elastic(alpha=alpha, sigma=sigma).displacements(size, size, seeds(1)[0]).numpy()
    noise_field = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(2, size, size)), (0, sigma, sigma))
    noise_field *= alpha / noise_field.std()
    assert abs(np.mean(field)) < 0.3 and abs(field.std() - alpha) < 0.15
    for lag in (1, 5, 10, 20):
        for axis in (1, 2):
            exact = np.exp(-((lag / sigma) ** 2) / 4)
            for each in (field, noise_field):
                shifted = np.roll(each, lag, axis)
                assert abs(np.mean(each * shifted) / alpha**2 - exact) < 0.06
    assert abs(np.corrcoef(field[0].ravel(), field[1].ravel())[0, 1]) < 0.1


def test_displacements_vary_equally_everywhere() -> None:
    """The standard deviation is `alpha` also at corners and between the values of the noise."""
    field = tf.function(lambda seed: Elastic(alpha=2, sigma=3).displacements(10, 8, seed))
    fields = np.stack([field(seed) for seed in seeds(300)])
    np.testing.assert_allclose(fields.std(0), 2, rtol=0.17)


def test_grid_distortion_against_scipy() -> None:
    op, size = GridDistortion(steps=4, distortion=0.8), (41, 30)
    for seed in seeds(3):
        draws = tf.random.stateless_uniform([2, 4], seed, -1, 1, alg="philox").numpy().astype(float)
        axes = []
        for draw, length in zip(draws, size, strict=True):
            knots = np.concatenate([[0], np.cumsum(1 + 0.8 * draw)])
            axes.append(np.interp(np.arange(length), np.linspace(0, length - 1, 5), knots / knots[-1] * (length - 1)))
        check_sampled(op, np.stack(np.meshgrid(*axes, indexing="ij")), seed, size)


def test_cells_of_a_grid_distortion_are_within_their_bounds() -> None:
    op, ratios = GridDistortion(steps=2, distortion=0.5), []
    ramp = np.repeat(np.arange(201, dtype=np.float32)[:, None, None], 3, 1)
    for seed in seeds(60):
        moved = run(op, ramp, np.zeros((201, 3), np.int32), seed, View(IGNORE))[0][:, 0, 0]
        assert moved[0] == 0 and abs(moved[-1] - 200) < 1e-3 and (np.diff(moved) > 0).all()
        ratios.append(moved[100] / (200 - moved[100]))
    assert 1 / 3 <= min(ratios) < 0.5 and 2 < max(ratios) <= 3


def test_photographs_stay_smooth() -> None:
    """A distortion without folds does not create larger differences between neighbors than its magnification."""
    image = ndimage.gaussian_filter(photo(80, 80).astype(float), (3, 3, 0)).astype(np.uint8)
    new_image, _ = run(Elastic(alpha=2, sigma=15), image, np.zeros((80, 80), np.int32), seeds(1)[0], VIEW)
    inner = new_image[12:-12, 12:-12].astype(float)
    assert np.abs(np.diff(inner, axis=0)).max() < 2 * np.abs(np.diff(image.astype(float), axis=0)).max() + 1
