"""Random crops chosen by the classes in them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfseg.context import Context, Grid
from tfseg.data import ClassCrop, Data, Folder, Rotate, Scale, reading
from tfseg.data.augment import Chain, View
from tfseg.data.class_crop import REDRAWS, ChosenWindow
from tfseg.errors import DataError
from tfseg.labels import Labels

IGNORE = 60000
FOUR = Labels(names=("a", "b", "c", "d"), ignore=IGNORE)
fold = tf.random.experimental.stateless_fold_in


def positions(height: int, width: int) -> np.ndarray:
    """Returns an image whose channels are the row and the column of each pixel."""
    return np.stack(np.mgrid[:height, :width], -1).astype(np.int32)


def windows(choice: Any, mask: np.ndarray, count: int) -> np.ndarray:
    """Returns the first row and column of the windows of many seeds."""
    image, ids = tf.constant(positions(*mask.shape)), tf.constant(mask)

    @tf.function
    def start(number: tf.Tensor) -> tf.Tensor:
        cut, cut_ids = choice(image, ids, tf.stack([tf.constant(7, tf.int64), number]))
        tf.debugging.assert_equal(tf.shape(cut)[:2], tf.shape(cut_ids))
        tf.debugging.assert_equal(tf.shape(cut_ids), tf.minimum(choice.size, mask.shape))
        tf.debugging.assert_equal(tf.gather_nd(ids, cut), cut_ids)
        return cut[0, 0]

    return tf.map_fn(start, tf.range(count, dtype=tf.int64), fn_output_signature=tf.int32).numpy()


def choice(size: tuple[int, int], *, pixels: Any = (1, 1, 1, 1), **options: Any) -> Any:
    return ClassCrop(size=size, **options)(FOUR, lambda: np.array(pixels))


def test_crops_around_a_rare_pixel_contain_it_at_every_position() -> None:
    mask = np.zeros((40, 50), np.int32)
    mask[17, 30] = 3
    mask[:4] = IGNORE
    starts = windows(choice((3, 4), pixels=(9999, 0, 0, 1), around="rare", temperature=0.001), mask, 400)
    assert {tuple(start) for start in starts.tolist()} == {
        (row, column) for row in (15, 16, 17) for column in range(27, 31)
    }


@pytest.mark.parametrize(("corner", "rows", "columns"), [((0, 0), {0}, {0}), ((39, 49), {36}, {43})])
def test_crops_around_a_pixel_in_a_corner_stay_inside_the_image(
    corner: tuple[int, int], rows: set[int], columns: set[int]
) -> None:
    mask = np.zeros((40, 50), np.int32)
    mask[corner] = 2
    starts = windows(choice((4, 7), pixels=(99, 1, 1, 1), around="rare", temperature=0.001), mask, 60)
    assert (set(starts[:, 0].tolist()), set(starts[:, 1].tolist())) == (rows, columns)


def test_classes_are_drawn_by_rarity_among_those_of_the_image() -> None:
    """Each count of 1,500 crops is within 5 standard deviations of its mean; class 2 is not in the image."""
    mask = np.full((9, 90), IGNORE, np.int32)
    mask[4, 4], mask[0:9, 36:54], mask[4, 85] = 0, 1, 3
    starts = windows(choice((5, 5), pixels=(50, 30, 15, 5), around="rare", temperature=0.4), mask, 1500)
    counts = np.histogram(starts[:, 1], [0, 20, 65, 90])[0]
    powers = np.exp((1 - np.array([0.5, 0.3, 0.05])) / 0.4)
    expected = powers / powers.sum()
    assert (np.abs(counts - 1500 * expected) <= 5 * np.sqrt(1500 * expected * (1 - expected))).all()


def test_pixels_of_the_class_are_drawn_uniformly() -> None:
    """Crops of one pixel: each of 12 pixels, in rows of different lengths, is drawn as often as the others."""
    mask = np.zeros((6, 8), np.int32)
    mask[1, 2:5], mask[2, 7], mask[5, :] = 1, 1, 1
    starts = windows(choice((1, 1), pixels=(9, 1, 0, 0), around="rare", temperature=0.001), mask, 2400)
    counts = np.zeros(mask.shape, int)
    np.add.at(counts, tuple(starts.T), 1)
    assert (counts[mask == 0] == 0).all()
    assert np.abs(counts[mask == 1] - 200).max() <= 5 * np.sqrt(2400 * 1 / 12 * 11 / 12)


def share(mask: np.ndarray, start: Any, size: tuple[int, int]) -> float:
    ids = mask[start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
    labeled = ids[ids != IGNORE]
    return float(np.bincount(labeled).max() / labeled.size) if labeled.size else 1.0


@pytest.mark.parametrize("max_share", [0.45, 0.65, 0.9])
def test_crops_are_drawn_again_until_no_class_covers_too_much(max_share: float) -> None:
    """A loop in NumPy over the same draws chooses the same windows."""
    rng, size = np.random.default_rng(1), (6, 5)
    mask = np.repeat(np.repeat(rng.choice([0, 0, 0, 1, 2, IGNORE], (8, 8)), 4, 0), 4, 1).astype(np.int32)
    found = windows(choice(size, max_share=max_share), mask, 60)
    redraws = []
    for number, start in enumerate(found):
        for attempt in range(REDRAWS + 1):
            seed = fold(tf.constant([7, number], tf.int64), 2 * attempt + 1)
            draws = tf.random.stateless_uniform([2], seed, alg="philox").numpy()
            expected = (draws * (np.array(mask.shape) - size + 1).astype(np.float32)).astype(int)
            if share(mask, expected, size) <= max_share:
                break
        np.testing.assert_array_equal(start, expected)
        redraws.append(attempt)
    assert min(redraws) == 0 and max(redraws) > 1 and (max_share == 0.9 or max(redraws) == REDRAWS)


def test_rare_crops_are_drawn_again_too() -> None:
    """Class 1 covers all of one region and half of the other: only crops of the second have at most 80% of it."""
    mask = np.zeros((20, 36), np.int32)
    mask[:, 20:] = 1
    only = choice((8, 8), pixels=(9, 1, 1, 1), around="rare", temperature=0.001)
    both = replace(only, max_share=0.8)
    before, after = ([share(mask, start, (8, 8)) for start in windows(each, mask, 80)] for each in (only, both))
    assert np.mean(np.array(before) > 0.8) > 0.5
    assert np.mean(np.array(after) > 0.8) < 0.4


@pytest.mark.parametrize("options", [{"around": "rare"}, {"max_share": 0.5}, {"around": "rare", "max_share": 0.5}])
@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (30, 7)])
def test_images_without_labels_and_small_images(options: dict[str, Any], shape: tuple[int, int]) -> None:
    for value in (IGNORE, 0):
        starts = windows(choice((6, 9), **options), np.full(shape, value, np.int32), 20)
        assert (starts.min(0) >= 0).all() and (starts <= np.maximum(np.array(shape) - (6, 9), 0)).all()
        assert shape == (1, 1) or len(np.unique(starts)) > 3


def test_probabilities_do_not_underflow() -> None:
    """At the lowest temperature, an image of the most frequent class alone is cropped around a pixel of it."""
    mask = np.full((30, 30), IGNORE, np.int32)
    mask[20, 11] = 0
    starts = windows(choice((1, 1), pixels=(10**9, 1, 1, 1), around="rare", temperature=0.001), mask, 10)
    assert (starts == (20, 11)).all()


def test_mapping_with_a_size_alone_is_a_plain_crop(folder: Path, labels: Labels) -> None:
    plain = Data(source=Folder(), root=folder, batch_size=2, crop=(12, 14), augment=(Scale(),))
    mapping = replace(plain, crop=ClassCrop(size=(12, 14)))
    assert mapping.crop_size == plain.crop_size == (12, 14)
    assert mapping.open(labels).stream.chain == plain.open(labels).stream.chain
    assert replace(plain, crop=ClassCrop(size=9)).crop_size == (9, 9)


@pytest.fixture
def spot(folder: Path, write: Any) -> Data:
    """Images of 60 x 80 with a single spot of 2 x 2 pixels of class 2, in batches of 5, each scaled."""
    for number in range(5):
        mask = np.zeros((60, 80), np.uint8)
        mask[10 * number + 5 :, 70 - 9 * number :][:2, :2] = 2
        write(folder / "train" / "masks" / f"{number}.png", mask, palette=True)
        write(folder / "train" / "images" / f"{number}.png", np.stack([mask * 100] * 3, -1))
    crop = ClassCrop(size=10, around="rare", temperature=0.001)
    return Data(source=Folder(), root=folder, batch_size=5, crop=crop, augment=(Scale(min=0.5, max=2.0),))


def masks(data: Data, labels: Labels, epochs: int = 8) -> np.ndarray:
    return np.concatenate([mask for _, mask in data.open(labels).training(epochs=epochs).as_numpy_iterator()])


def test_scale_before_a_crop_around_a_rare_pixel_does_not_cut_it_away(spot: Data, labels: Labels) -> None:
    found = (masks(spot, labels) == 2).any((1, 2))
    assert found.shape == (40,) and found.all()
    assert (masks(replace(spot, crop=10), labels) == 2).any((1, 2)).mean() < 0.3


def test_ops_before_the_crop_see_the_whole_image() -> None:
    seen = []

    class Seen(Rotate):  # type: ignore[misc]
        def __call__(self, image: Any, mask: Any, seed: Any, view: View) -> Any:
            seen.append(view)
            return image, mask

    image, mask = tf.zeros([20, 20, 3], tf.uint8), tf.zeros([20, 20], tf.int32)
    for chosen in (None, choice((8, 8), max_share=0.5)):
        Chain((Seen(),), View(IGNORE, (8, 8)), chosen).cropped(image, mask, tf.constant([1, 2], tf.int64))
    assert seen == [View(IGNORE, (8, 8)), View(IGNORE, None)]


def test_crops_are_padded_and_have_a_static_shape(spot: Data, labels: Labels) -> None:
    large = replace(spot, crop=ClassCrop(size=(70, 90), around="rare", max_share=0.9), augment=())
    dataset = large.open(labels).training(epochs=1)
    assert [part.shape.as_list() for part in dataset.element_spec] == [[5, 70, 90, 3], [5, 70, 90]]
    for image, mask in dataset.as_numpy_iterator():
        assert (mask[:, 60:] == 255).all() and (mask[:, :, 80:] == 255).all() and (mask[:, :60, :80] < 3).all()
        assert (image[:, 60:] == 115).all()


def test_crops_do_not_depend_on_parallelism(spot: Data, labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    data = replace(spot, crop=ClassCrop(size=10, around="rare", max_share=0.6))
    expected = masks(data, labels, 3)
    monkeypatch.setattr(reading, "PARALLEL", 1)
    np.testing.assert_array_equal(masks(data, labels, 3), expected)


def test_frequencies_are_those_of_the_training_split(spot: Data, labels: Labels) -> None:
    chosen = spot.open(labels).stream.chain.choice
    assert isinstance(chosen, ChosenWindow)
    np.testing.assert_allclose(chosen.logits, (1 - np.array([1 - 4 / 4800, 0, 4 / 4800, 0])) / 0.001)


def test_unreadable_masks_are_reported(spot: Data, labels: Labels, folder: Path) -> None:
    """The file is damaged after the classes were counted."""
    dataset = replace(spot, crop=ClassCrop(size=10, around="rare", max_share=0.5)).open(labels).training(epochs=1)
    file = folder / "train" / "masks" / "3.png"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match=r"3\.png: cannot be decoded"), reading.explained():
        list(dataset)


def test_size_of_a_mapping_must_fit_the_grid() -> None:
    context = Context(FOUR, 3, 10, Grid(4, 4, 0))
    [(path, message)] = Data(crop=ClassCrop(size=10)).problems(context)
    assert path == ("crop", "size") and message.endswith("Nearest: 8 or 12. Received: 10")
