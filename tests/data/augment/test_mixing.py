"""Ops that mix examples: pixels and labels, and the batches of training."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.data import (
    ClassMix,
    CopyPaste,
    Data,
    Flip,
    Folder,
    Mosaic,
    ObjectBoxes,
    Rotate,
    Scale,
    Shapes,
    reading,
)
from tfseg.data.augment import View
from tfseg.data.augment.classes import chosen, ids_of, members, present
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.spec import SpecError

IGNORE = 9
NAMES = Labels(names=("ground", "disc", "square", "ring"), ignore=IGNORE)
VIEW = View(IGNORE, labels=NAMES)
OPS = [
    Mosaic(),
    Mosaic(margin=0),
    CopyPaste(),
    CopyPaste(classes=("ground", "ring"), flip=0.0),
    CopyPaste(flip=1.0, shift=0.7),
    ClassMix(),
]
Arrays = tuple[np.ndarray, np.ndarray]


def name(op: object) -> str:
    return type(op).__name__


def example(number: int, height: int, width: int, rng: np.random.Generator) -> Arrays:
    """Returns an example whose pixels encode its number, the row, the column and the label."""
    rows, columns = np.mgrid[:height, :width]
    mask = rng.choice([0, 1, 2, 3, IGNORE], (height, width)).astype(np.int32)
    return np.stack([rows, columns, 16 * number + mask], -1).astype(np.uint8), mask


def mix(op: Any, pairs: Sequence[Arrays], seed: int, view: View = VIEW) -> Arrays:
    tensors = [(tf.constant(image), tf.constant(mask)) for image, mask in pairs]
    image, mask = op(tensors[: 1 + op.PARTNERS], tf.constant([seed, 1], tf.int64), view)
    return image.numpy(), mask.numpy()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**31 - 1))
def test_image_and_mask_of_a_pixel_are_of_one_example(data: st.DataObject, seed: int) -> None:
    op = data.draw(st.sampled_from(OPS))
    height, width = data.draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    rng = np.random.default_rng(seed)
    pairs = [example(number, height, width, rng) for number in range(4)]
    image, mask = mix(op, pairs, seed)
    assert image.shape == (height, width, 3) and mask.shape == (height, width)
    assert image.dtype == np.uint8 and mask.dtype == np.int32
    rows, columns, number = image[..., 0], image[..., 1], image[..., 2] // 16
    for source, (_, ids) in enumerate(pairs):
        own = number == source
        np.testing.assert_array_equal(mask[own], ids[rows[own], columns[own]])
    assert number.max() <= op.PARTNERS
    if not isinstance(op, CopyPaste):
        np.testing.assert_array_equal(rows, np.mgrid[:height, :width][0])
        np.testing.assert_array_equal(columns, np.mgrid[:height, :width][1])


def test_a_mosaic_has_four_quarters_around_its_center() -> None:
    pairs = [(np.full((40, 60, 3), number, np.uint8), np.full((40, 60), number, np.int32)) for number in range(4)]
    centers = set()
    for seed in range(30):
        image, mask = mix(Mosaic(margin=0.25), pairs, seed)
        bottom, right = int((mask[:, 0] == 0).sum()), int((mask[0] == 0).sum())
        expected = np.zeros((40, 60), np.int32)
        expected[:bottom, right:], expected[bottom:, :right], expected[bottom:, right:] = 1, 2, 3
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(image, np.repeat(expected[..., None], 3, 2))
        centers.add((bottom, right))
    rows, columns = zip(*centers, strict=True)
    assert 10 <= min(rows) < 15 and 25 < max(rows) <= 30
    assert 15 <= min(columns) < 20 and 40 < max(columns) <= 45


def halves(left: int, right: int) -> Arrays:
    mask = np.full((6, 8), left, np.int32)
    mask[:, 4:] = right
    return np.full((6, 8, 3), 200, np.uint8), mask


GROUND = (np.zeros((6, 8, 3), np.uint8), np.zeros((6, 8), np.int32))


def test_copy_paste_takes_all_pixels_of_at_least_one_class() -> None:
    found = set()
    for seed in range(40):
        _, mask = mix(CopyPaste(flip=0.0), [GROUND, halves(1, 3)], seed)
        found.add((int(mask[0, 0]), int(mask[0, -1])))
        assert (mask[:, :4] == mask[0, 0]).all() and (mask[:, 4:] == mask[0, -1]).all()
    assert found == {(1, 0), (0, 3), (1, 3)}


def test_copy_paste_of_given_classes() -> None:
    """Class 0 is not pasted by default; a partner without the classes changes nothing."""
    for seed in range(8):
        image, mask = mix(CopyPaste(flip=0.0), [halves(2, 2), halves(0, 1)], seed)
        assert (mask[:, :4] == 2).all() and (mask[:, 4:] == 1).all()
        _, mask = mix(CopyPaste(classes=("ground", "square"), flip=0.0), [halves(3, 3), halves(0, 1)], seed)
        assert (mask[:, :4] == 0).all() and (mask[:, 4:] == 3).all()
        image, mask = mix(CopyPaste(classes=("ring",)), [GROUND, halves(0, 1)], seed)
        np.testing.assert_array_equal(image, GROUND[0])
        np.testing.assert_array_equal(mask, GROUND[1])


def test_flip_and_shift_of_pasted_pixels() -> None:
    """The 6 x 4 pixels of the class are moved as a whole; the part outside the image is lost."""
    flips, corners = set(), set()
    for seed in range(40):
        _, mask = mix(CopyPaste(flip=0.5), [GROUND, halves(0, 1)], seed)
        assert (mask == 1).sum() == 24
        flips.add(int(mask[0, 0]))
        _, mask = mix(CopyPaste(flip=0.0, shift=0.5), [GROUND, halves(0, 1)], seed)
        rows, columns = np.nonzero(mask)
        if len(rows):
            assert (mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] == 1).all()
            corners.add((int(rows.min()), int(columns.min())))
    assert flips == {0, 1}
    rows, columns = zip(*corners, strict=True)
    assert max(rows) == 3 and min(columns) == 0 and max(columns) == 8 - 1


@pytest.mark.parametrize(("classes", "pasted"), [((0,), 0), ((0, 2), 1), ((0, 1, 2), 1), ((0, 1, 2, 3), 2)])
def test_class_mix_pastes_half_of_the_classes(classes: tuple[int, ...], pasted: int) -> None:
    """Ignored pixels are no class."""
    other = np.resize(np.array([*classes, IGNORE], np.int32), (6, 8))
    image = np.repeat(other[..., None], 3, 2).astype(np.uint8) + 100
    base = (np.zeros((6, 8, 3), np.uint8), np.full((6, 8), 3, np.int32))
    found = set()
    for seed in range(30):
        mixed, _ = mix(ClassMix(), [base, (image, other)], seed)
        taken = mixed[..., 0] > 0
        chosen_classes = tuple(np.unique(other[taken]).tolist())
        assert len(chosen_classes) == pasted and IGNORE not in chosen_classes
        np.testing.assert_array_equal(taken, np.isin(other, chosen_classes))
        found.add(chosen_classes)
    assert set(classes) == {each for one in found for each in one} or not pasted


def test_tables_of_classes() -> None:
    mask = tf.constant([[0, 3], [IGNORE, 3]], tf.uint8)
    table = present(mask, IGNORE)
    assert np.flatnonzero(table).tolist() == [0, 3]
    assert members(mask, table).numpy().tolist() == [[True, True], [False, True]]
    counts = np.zeros(IGNORE)
    for seed in range(60):
        one = chosen(table, tf.constant(1), tf.constant([seed, 0], tf.int64)).numpy()
        assert one.sum() == 1
        counts += one
    assert np.flatnonzero(counts).tolist() == [0, 3] and counts.max() < 45
    with pytest.raises(ValueError, match=r"expected `View.labels` with the classes ring; received None"):
        ids_of(("ring",), View(IGNORE))


@pytest.mark.parametrize("op", OPS[1:], ids=name)
def test_equal_in_a_graph_and_for_float_images(op: Any) -> None:
    pairs = [example(number, 9, 7, np.random.default_rng(number)) for number in range(1 + op.PARTNERS)]
    floats = [(tf.constant(image, tf.float32), tf.constant(mask, tf.uint8)) for image, mask in pairs]
    graph = tf.function(lambda seed: op(floats, seed, VIEW))
    for seed in range(4):
        image, mask = mix(op, pairs, seed)
        other, ids = graph(tf.constant([seed, 1], tf.int64))
        assert (other.dtype, ids.dtype) == (tf.float32, tf.uint8)
        np.testing.assert_array_equal(other, image)
        np.testing.assert_array_equal(ids, mask)


# Batches.

MIXED = (Scale(min=0.7, max=1.5), Mosaic(), CopyPaste(shift=0.2), ClassMix(probability=1.0))


def batches(data: Data, labels: Labels, **options: int) -> list[Arrays]:
    options = {"seed": 3, "epochs": 2, **options}
    return list(data.open(labels, options.pop("seed")).training(**options).as_numpy_iterator())


def assert_equal(one: list[Arrays], other: list[Arrays]) -> None:
    assert len(one) == len(other) > 0
    for pair, expected in zip(one, other, strict=True):
        for part, array in zip(pair, expected, strict=True):
            np.testing.assert_array_equal(part, array)


@pytest.fixture
def mixed(data: Data) -> Data:
    return replace(data, crop=(16, 18), augment=MIXED)


@pytest.mark.slow
def test_mixed_batches_do_not_depend_on_parallelism_start_batch_size_or_cache(
    mixed: Data, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = batches(mixed, labels)
    assert_equal([mixed.open(labels, 3).training_batch(1, 2)], [expected[5]])
    monkeypatch.setattr(reading, "PARALLEL", 1)
    single = batches(replace(mixed, cache=True, batch_size=1), labels, epochs=1)
    assert len(single) == 5
    for number, (image, mask) in enumerate(single):
        np.testing.assert_array_equal(image[0], expected[number // 2][0][number % 2])
        np.testing.assert_array_equal(mask[0], expected[number // 2][1][number % 2])


def numbered(folder: Path, write: Callable[..., Path], count: int) -> Data:
    """Training images whose value is their number, with masks of the same value, without augmentation."""
    for split, total in (("train", count), ("val", 1)):
        for number in range(total):
            write(folder / split / "images" / f"{number}.png", np.full((8, 10, 3), number))
            write(folder / split / "masks" / f"{number}.png", np.full((8, 10), number), palette=True)
    return Data(source=Folder(), root=folder, batch_size=2, crop=(8, 10))


def test_partners_are_other_examples_of_the_epoch(tmp_path: Path, write: Callable[..., Path], labels: Labels) -> None:
    """Also for padding examples, which stay ignored; pixels of image and mask agree."""
    data = replace(numbered(tmp_path, write, 3), augment=(Mosaic(probability=1.0),))
    partners = set()
    for number, (image, mask) in enumerate(batches(data, labels, epochs=6)):
        names = data.open(labels, 3).batch_names(*divmod(number, 2))
        for pixels, ids, own in zip(image, mask, [*names, None], strict=False):
            if own is None:
                assert (ids == labels.ignore).all()
                continue
            np.testing.assert_array_equal(pixels[..., 0], ids)
            assert ids[0, 0] == int(own) and int(own) not in {ids[0, -1], ids[-1, 0], ids[-1, -1]}
            partners.add((int(own), int(ids[0, -1])))
    assert len(partners) == 6, "every pair of different examples"


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_examples(tmp_path: Path, write: Callable[..., Path], labels: Labels, count: int) -> None:
    """A single example is its own partner."""
    data = replace(numbered(tmp_path, write, count), augment=(Mosaic(probability=1.0, margin=0.5),))
    for number, (_, mask) in enumerate(batches(data, labels, epochs=2)):
        for own, ids in zip(data.open(labels, 3).batch_names(number, 0), mask, strict=False):
            other = (int(own) + 1) % count
            assert [ids[0, 0], ids[0, -1], ids[-1, 0], ids[-1, -1]] == [int(own), other, other, other]


def test_boxes_are_mixed(folder: Path, labels: Labels) -> None:
    """Boxes have one size, so that no crop is necessary."""
    boxes = ObjectBoxes(min_pixels=1, size=(12, 16))
    data = Data(source=Folder(), root=folder, batch_size=4, boxes=boxes, augment=(Mosaic(), ClassMix()))
    opened = data.open(labels, 3)
    image, mask = opened.training_batch(0, 1)
    assert image.shape == (4, 12, 16, 3) and mask.shape == (4, 12, 16)
    plain = replace(data, augment=()).open(labels, 3).training_batch(0, 1)
    assert (image != plain[0]).any()


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("problem", ["missing", "truncated", "mismatched", "unknown", "class"])
def test_a_bad_partner_is_reported_with_its_own_file(
    tmp_path: Path, write: Callable[..., Path], labels: Labels, problem: str
) -> None:
    """Example 0 is valid; the other one, which is only read as its partner, is not."""
    data = replace(numbered(tmp_path, write, 2), batch_size=1, augment=(CopyPaste(probability=1.0),))
    opened = data.open(labels, 3)
    epoch = next(epoch for epoch in range(20) if opened.batch_names(epoch, 0) == ("0",))
    image, mask = (tmp_path / "train" / kind / "1.png" for kind in ("images", "masks"))
    if problem == "missing":
        image.unlink()
        expected = f"{image}: cannot be read: No such file or directory. Restore the file, or remove the example."
    elif problem == "truncated":
        mask.write_bytes(mask.read_bytes()[:-20])
        expected = f"{mask}: "
    elif problem == "unknown":
        image.write_bytes(b"text")
        expected = f"{image}: the image is of an unknown format."
    elif problem == "mismatched":
        write(mask, np.zeros((7, 10)), palette=True)
        expected = f"{image}: the image is 10x8, but its mask {mask} is 10x7."
    else:
        write(mask, np.full((8, 10), 77), palette=True)
        expected = f"{mask}: "
    with pytest.raises(DataError) as caught:
        opened.training_batch(epoch, 0)
    assert str(caught.value).startswith(expected)


# Specifications.


@pytest.mark.parametrize("op", [Mosaic(), CopyPaste(), ClassMix()], ids=name)
def test_mixing_requires_examples_of_one_size(op: Any, folder: Path) -> None:
    with pytest.raises(SpecError) as caught:
        Data(source=Folder(), root=folder, augment=(Flip(), op))
    assert str(caught.value) == (
        f"Data: augment.1: {op.type} needs examples of one size; expected data.crop, or a source or boxes of one size "
        "and no op before the crop; received no crop"
    )
    Data(source=Folder(), root=folder, crop=8, augment=(Flip(), op))
    Data(source=Shapes(size=16), augment=(op,))
    for before in (Scale(), Rotate()):
        with pytest.raises(SpecError, match=r"augment.1: .* needs examples of one size"):
            Data(source=Shapes(size=16), augment=(before, op))


def test_unknown_classes_without_a_pipeline(data: Data, labels: Labels) -> None:
    unknown = replace(data, crop=8, augment=(CopyPaste(classes=("car",)),))
    with pytest.raises(DataError, match=r"^data.augment: copy_paste fails \(.*with the classes car; received Labels"):
        unknown.open(labels).training(epochs=1)
