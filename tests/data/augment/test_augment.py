"""Augmentation: geometry, labels, random seeds and colors."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.data import ColorJitter, Flip, Rotate, Scale
from tfseg.data.augment import FILL, View, augmented, cropped, like

IGNORE = 60000
GEOMETRIC = [
    Scale(),
    Scale(min=0.3, max=0.6),
    Scale(factors=(0.75, 1.5)),
    Rotate(degrees=30),
    Flip(),
    Flip(axis="vertical"),
]
ALL = [*GEOMETRIC, ColorJitter(), ColorJitter(brightness=0, contrast=0, saturation=0.5, hue=0.5)]
VIEWS = [View(IGNORE), View(IGNORE, (24, 40)), View(IGNORE, (90, 33))]


def name(op: object) -> str:
    return f"{type(op).__name__}"


def ramps(height: int = 61, width: int = 47) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image and a mask that encode the row and column of every pixel."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([4 * rows, 4 * columns, np.full_like(rows, 77)], -1).astype(np.uint8)
    return image, (rows * 64 + columns).astype(np.int32)


def seeds(count: int) -> list[tf.Tensor]:
    return [tf.constant([3, number], tf.int64) for number in range(count)]


def run(op: object, image: np.ndarray, mask: np.ndarray, seed: tf.Tensor, view: View) -> tuple[np.ndarray, np.ndarray]:
    new_image, new_mask = op(tf.constant(image), tf.constant(mask), seed, view)  # type: ignore[operator]
    return new_image.numpy(), new_mask.numpy()


@pytest.mark.parametrize("op", GEOMETRIC, ids=name)
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view.crop))
def test_image_and_mask_have_the_same_geometry(op: object, view: View) -> None:
    """The ramps of image and mask agree to the nearest pixel."""
    image, mask = ramps()
    changes = 0
    for seed in seeds(12):
        new_image, new_mask = run(op, image, mask, seed, view)
        assert new_image.dtype == np.uint8 and new_mask.dtype == np.int32
        assert new_image.shape[:2] == new_mask.shape
        known = (new_mask != IGNORE) & _inner(new_mask)
        positions = np.stack([new_mask // 64, new_mask % 64], -1)
        gap = np.abs(new_image[..., :2] / 4 - positions)[known]
        reach = 0.5 * max(1.0, 1 / getattr(op, "min", 1.0)) + 0.13
        assert gap.max() <= reach
        changes += new_mask.shape != mask.shape or bool((new_mask != mask).any())
    assert changes >= 3


def _inner(mask: np.ndarray) -> np.ndarray:
    """Excludes pixels next to the border or to ignored pixels, where bilinear interpolation uses padding."""
    known = np.pad(mask != IGNORE, 1)
    windows = np.lib.stride_tricks.sliding_window_view(known, (3, 3))
    return windows.all((2, 3))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**31 - 1))
def test_masks_contain_only_input_labels_and_the_ignore_label(data: st.DataObject, seed: int) -> None:
    """unique(out) is a subset of unique(in) and the ignore label, for every op, size, seed and crop."""
    op = data.draw(st.sampled_from(ALL))
    height, width = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    view = View(IGNORE, data.draw(st.none() | st.tuples(st.integers(1, 50), st.integers(1, 50))))
    rng = np.random.default_rng(seed)
    ids = rng.choice(256, data.draw(st.integers(1, 4)), replace=False)
    image, mask = rng.integers(0, 256, (height, width, 3), np.uint8), rng.choice(ids, (height, width)).astype(np.int32)
    key = tf.constant([seed, 0], tf.int64)
    new_image, new_mask = (part.numpy() for part in augmented(tf.constant(image), tf.constant(mask), key, (op,), view))
    assert new_mask.dtype == np.int32 and new_image.dtype == np.uint8
    assert set(np.unique(new_mask)) <= {*ids.tolist(), IGNORE}
    assert new_image.shape[:2] == new_mask.shape
    assert view.crop is None or new_mask.shape == view.crop


@pytest.mark.parametrize("op", ALL, ids=name)
def test_ops_depend_on_the_seed_alone(op: object) -> None:
    image, mask = ramps()
    graph = tf.function(lambda seed: op(tf.constant(image), tf.constant(mask), seed, VIEWS[1]))  # type: ignore[operator]
    outcomes = set()
    for seed in seeds(12):
        one, other = run(op, image, mask, seed, VIEWS[1]), [part.numpy() for part in graph(seed)]
        np.testing.assert_allclose(one[0].astype(int), other[0], atol=1)
        np.testing.assert_array_equal(one[1], other[1])
        outcomes.add(one[0].tobytes() + one[1].tobytes())
    assert len(outcomes) >= 2


MEAN = (123, 117, 104)


def test_rotation_is_about_the_center() -> None:
    image, mask = ramps()
    for seed in seeds(5):
        new_image, new_mask = run(Rotate(degrees=45), image, mask, seed, View(IGNORE))
        assert new_mask[30, 23] == mask[30, 23] == 30 * 64 + 23
        np.testing.assert_array_equal(new_image[30, 23], image[30, 23])


@pytest.mark.parametrize("fill", [(FILL,), MEAN, (255,)])
def test_pixels_uncovered_by_rotation_are_ignored(fill: tuple[int, ...]) -> None:
    image, mask = np.full((40, 40, 3), 250, np.uint8), np.full((40, 40), 3, np.int32)
    for seed in seeds(5):
        new_image, new_mask = run(Rotate(degrees=45), image, mask, seed, View(IGNORE, fill=fill))
        outside = new_mask == IGNORE
        assert outside.any()
        assert (new_image[_inner(np.where(outside, 0, IGNORE))] == fill).all()
        assert (new_image[~outside & _inner(new_mask)] == 250).all()


@pytest.mark.parametrize("fill", [(FILL,), MEAN])
def test_padding_of_a_crop_is_ignored(fill: tuple[int, ...]) -> None:
    """Padding is at the bottom and at the right, as in DeepLab, which pads with the mean."""
    image, mask = ramps(10, 50)
    for seed in seeds(5):
        new_image, new_mask = (
            part.numpy() for part in cropped(tf.constant(image), tf.constant(mask), seed, (16, 20), IGNORE, fill)
        )
        assert (new_mask[10:] == IGNORE).all() and (new_mask[:10] != IGNORE).all()
        assert (new_image[10:] == fill).all()
        start = new_mask[0, 0] % 64
        np.testing.assert_array_equal(new_mask[:10], mask[:, start : start + 20])
        np.testing.assert_array_equal(new_image[:10], image[:, start : start + 20])


def test_crops_reach_every_position() -> None:
    image, mask = ramps(8, 9)
    starts = {int(cropped(tf.constant(image), tf.constant(mask), seed, (6, 6), 255)[1][0, 0]) for seed in seeds(150)}
    assert starts == {row * 64 + column for row in range(3) for column in range(4)}


@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (1.0, 1.0), (0.25, 0.5)])
def test_scale_factors_are_within_their_range(low: float, high: float) -> None:
    image, mask = ramps(40, 60)
    heights = [run(Scale(min=low, max=high), image, mask, seed, View(IGNORE))[1].shape for seed in seeds(40)]
    assert all(abs(height * 1.5 - width) <= 1 for height, width in heights)
    assert low * 40 - 0.5 <= min(heights)[0] <= max(heights)[0] <= high * 40 + 0.5
    assert low == high or max(heights)[0] - min(heights)[0] > (high - low) * 30


def test_pixels_are_rounded_and_clipped() -> None:
    steps = np.arange(-3, 260, 0.25, np.float32)
    values = np.concatenate([steps, *(np.nextafter(steps, np.float32(limit)) for limit in (-np.inf, np.inf))])
    expected = np.floor(np.clip(values.astype(np.float64), 0, 255) + 0.5)
    pixels = like(tf.constant(values), tf.zeros([1, 1, 3], tf.uint8)).numpy()
    np.testing.assert_array_equal(pixels[values != np.float32(0.49999997)], expected[values != np.float32(0.49999997)])


def test_scale_by_given_factors() -> None:
    image, mask = ramps(40, 60)
    op = Scale(factors=(0.5, 0.75, 2.0))
    assert {run(op, image, mask, seed, View(IGNORE))[1].shape for seed in seeds(40)} == {(20, 30), (30, 45), (80, 120)}


def test_scaled_window_covers_the_crop() -> None:
    """The scaled window has at least the size of the crop if the image is large enough."""
    image, mask = ramps()
    for seed in seeds(20):
        _, new_mask = run(Scale(min=1.0, max=2.0), image, mask, seed, View(IGNORE, (20, 30)))
        assert 20 <= new_mask.shape[0] <= 23 and 30 <= new_mask.shape[1] <= 33


@pytest.mark.parametrize("axis", ["horizontal", "vertical"])
def test_flip_probability(axis: str) -> None:
    image, mask = ramps()
    reverse = (slice(None), slice(None, None, -1)) if axis == "horizontal" else slice(None, None, -1)
    count = 0
    for seed in seeds(200):
        new_image, new_mask = run(Flip(axis=axis, probability=0.25), image, mask, seed, View(IGNORE))
        flipped = bool((new_mask != mask).any())
        np.testing.assert_array_equal(new_image, image[reverse] if flipped else image)
        np.testing.assert_array_equal(new_mask, mask[reverse] if flipped else mask)
        count += flipped
    assert 30 <= count <= 70


def test_color_jitter_does_not_change_the_mask() -> None:
    image, mask = ramps()
    for seed in seeds(5):
        new_image, new_mask = run(ColorJitter(), image, mask, seed, View(IGNORE))
        np.testing.assert_array_equal(new_mask, mask)
        assert (new_image != image).any()


def test_brightness_shifts_and_contrast_scales() -> None:
    image = np.random.default_rng(0).integers(90, 160, (20, 20, 3), np.uint8)
    mask = np.zeros((20, 20), np.int32)
    for seed in seeds(10):
        bright, _ = run(ColorJitter(brightness=0.2, contrast=0, saturation=0, hue=0), image, mask, seed, View(255))
        shift = bright.astype(float) - image
        assert np.ptp(shift) <= 1 and abs(shift.mean()) <= 51.5
        strong, _ = run(ColorJitter(brightness=0, contrast=0.3, saturation=0, hue=0), image, mask, seed, View(255))
        ratio = strong.std() / image.std()
        assert 0.69 < ratio < 1.31 and abs(strong.mean() - image.mean()) < 1


def test_saturation_and_hue_keep_gray_and_luma() -> None:
    rng = np.random.default_rng(0)
    gray = np.repeat(rng.integers(0, 256, (8, 8, 1), np.uint8), 3, 2)
    color = rng.integers(80, 170, (8, 8, 3), np.uint8)
    mask, luma = np.zeros((8, 8), np.int32), np.array([0.299, 0.587, 0.114])
    op = ColorJitter(brightness=0, contrast=0, saturation=0.5, hue=0.5)
    for seed in seeds(8):
        new, _ = run(op, gray, mask, seed, View(255))
        np.testing.assert_allclose(new.astype(int), gray, atol=1)
        new, _ = run(op, color, mask, seed, View(255))
        assert (new != color).any()
        inside = ((new > 0) & (new < 255)).all(-1)
        np.testing.assert_allclose((new @ luma)[inside], (color @ luma)[inside], atol=1.2)


def test_brightness_of_gray_images() -> None:
    image, mask = np.full((4, 4, 1), 100, np.uint8), np.zeros((4, 4), np.int32)
    new, _ = run(ColorJitter(saturation=0, hue=0), image, mask, seeds(1)[0], View(255))
    assert new.shape == image.shape and (new != image).any()


def test_additional_op_does_not_change_the_draws_of_others() -> None:
    image, mask = (tf.constant(part) for part in ramps())
    key = tf.constant([1, 2], tf.int64)
    one = augmented(image, mask, key, (Flip(), Scale(factors=(1.0,))), View(IGNORE, (30, 30)))
    other = augmented(image, mask, key, (Flip(), Scale(factors=(1.0,)), ColorJitter()), View(IGNORE, (30, 30)))
    np.testing.assert_array_equal(one[1], other[1])
