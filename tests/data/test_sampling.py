"""Sampling of training examples by the rarity of their classes."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import tensorflow as tf

from tests.data.findings import found
from tfseg.data import ClassCrop, ClassSampling, Data, Folder, ObjectBoxes, Shapes, reading
from tfseg.data.augment import MixSpec, Pair, View
from tfseg.data.dataset import Dataset
from tfseg.data.sampling import drawn
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.spec.declare import spec

THREE = Labels(names=("ground", "disc", "square"))
HISTOGRAMS = np.array([[90, 10, 0, 0], [100, 0, 0, 0], [0, 0, 0, 100], [60, 30, 10, 0], [99, 0, 1, 0], [100, 0, 0, 0]])
"""Pixels of three classes and of ignored ones in six examples, one without labeled pixels."""


def reference(histograms: np.ndarray, temperature: float, *, images: bool = False, min_pixels: int = 1) -> list[float]:
    """Computes the probability of each example by loops over the formula of DAFormer: a class, then an image of it."""
    examples = [row[:-1].tolist() for row in histograms]
    classes = [index for index in range(len(examples[0])) if any(row[index] for row in examples)]
    labeled = sum(map(sum, examples))
    frequency, containing = {}, {}
    for index in classes:
        containing[index] = [number for number, row in enumerate(examples) if row[index] >= min_pixels]
        frequency[index] = sum(row[index] for row in examples) / labeled
        if images:
            frequency[index] = len(containing[index]) / len(examples)
    total = sum(math.exp((1 - frequency[index]) / temperature) for index in classes)
    result = [0.0] * len(examples)
    for index in classes:
        for number in containing[index]:
            result[number] += math.exp((1 - frequency[index]) / temperature) / total / len(containing[index])
    return result


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1e6])
def test_probabilities_are_those_of_rare_class_sampling(temperature: float) -> None:
    for classes in ("balanced", "balanced_images"):
        for least in (1, 10):
            sampling = ClassSampling(classes=classes, temperature=temperature, min_pixels=least)
            found = sampling(HISTOGRAMS, THREE.names, "train")
            expected = reference(HISTOGRAMS, temperature, images=classes == "balanced_images", min_pixels=least)
            np.testing.assert_allclose(found, expected, rtol=1e-12)
            assert found.sum() == pytest.approx(1) and found[2] == 0


def test_extreme_temperatures() -> None:
    """The lowest draws only images of the rarest class; a high one draws all classes equally often."""
    rarest = ClassSampling(temperature=0.001)(HISTOGRAMS, THREE.names, "train")
    np.testing.assert_allclose(rarest, [0, 0, 0, 0.5, 0.5, 0], atol=1e-9)
    equal = ClassSampling(temperature=1e9)(HISTOGRAMS, THREE.names, "train")
    np.testing.assert_allclose(equal, np.array([1 / 5 + 1 / 2, 1 / 5, 0, 1 / 5 + 1, 1 / 5 + 1 / 2, 1 / 5]) / 3)


def test_classes_that_do_not_occur_have_no_effect() -> None:
    wider = np.insert(HISTOGRAMS, 3, 0, axis=1)
    np.testing.assert_array_equal(
        ClassSampling()(wider, (*THREE.names, "ring"), "train"), ClassSampling()(HISTOGRAMS, THREE.names, "train")
    )


def test_classes_with_too_few_pixels_in_every_example_are_an_error() -> None:
    with pytest.raises(DataError) as caught:
        ClassSampling(min_pixels=40)(HISTOGRAMS, THREE.names, "train")
    assert str(caught.value) == (
        "data.sampling.min_pixels: no example of the split train has 40 pixels of: 'disc' (at most 30), 'square' (at "
        "most 10). Use 10 or less, so that every class can be drawn."
    )


def test_data_check_reports_classes_that_cannot_be_drawn() -> None:
    data = Data(source=Shapes(size=16, train=4, val=1), sampling=ClassSampling(min_pixels=257))
    assert found(data.open(THREE), "sampling").message.startswith(
        "data.sampling.min_pixels: no example of the split train has 257 pixels of: 'ground'"
    )


def test_masks_without_labeled_pixels_are_an_error(folder: Path, labels: Labels, write: Any) -> None:
    for number in range(5):
        write(folder / "train" / "masks" / f"{number}.png", np.full((20 + number, 30 - number), 255), palette=True)
    data = Data(source=Folder(), root=folder, batch_size=2, sampling=ClassSampling()).open(labels)
    with pytest.raises(DataError) as caught:
        data.training(epochs=1)
    assert str(caught.value) == (
        "data.sampling: no mask of the split train has a labeled pixel, so that no class can be drawn. Correct the "
        "masks, or set data.sampling to null."
    )


def test_examples_are_drawn_with_their_probabilities() -> None:
    """Each count of 20,000 draws is within 5 standard deviations of its mean, and 0 for probability 0."""
    probabilities = np.array([0.0, 0.1, 0.0, 0.6, 0.3, 0.0])
    order = tf.function(
        lambda positions: tf.map_fn(
            lambda position: drawn(probabilities, 3, position // 100, position % 100), positions, parallel_iterations=1
        )
    )
    counts = np.bincount(order(tf.range(20_000, dtype=tf.int64)), minlength=6)
    assert counts.shape == (6,) and (counts[probabilities == 0] == 0).all()
    deviation = np.sqrt(20_000 * probabilities * (1 - probabilities))
    assert (np.abs(counts - 20_000 * probabilities) <= 5 * deviation).all()


def batches(data: Data, labels: Labels, **options: int) -> list[tuple[np.ndarray, np.ndarray]]:
    options = {"epochs": 3, **options}
    return list(data.open(labels, options.pop("seed", 3)).training(**options).as_numpy_iterator())


def equal(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(*pair) for both in zip(one, other, strict=True) for pair in zip(*both, strict=True)
    )


@pytest.fixture
def rare(folder: Path, write: Any) -> Data:
    """Five images of class 0, in one of which every third pixel has class 1; sampling draws it half of the time."""
    for number in range(5):
        mask = np.zeros((20 + number, 30 - number), np.uint8)
        mask[:, ::3] = number == 4
        write(folder / "train" / "masks" / f"{number}.png", mask, palette=True)
    sampling = ClassSampling(temperature=1e6)
    return Data(source=Folder(), root=folder, batch_size=2, crop=12, sampling=sampling)


def test_epochs_have_the_same_length_and_more_rare_classes(rare: Data, labels: Labels) -> None:
    opened = rare.open(labels, 3)
    result = batches(rare, labels, epochs=40)
    assert len(result) == 40 * opened.steps_per_epoch == 120
    drawn_often = sum((ids == 1).any() for _, mask in result for ids in mask)
    assert 200 * 0.6 * 0.8 < drawn_often < 200 * 0.6 * 1.2  # of 5 examples of an epoch; 1/5 without sampling


@pytest.mark.slow
def test_order_depends_on_seed_epoch_and_position_alone(
    rare: Data, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = batches(rare, labels)
    assert equal(batches(rare, labels, initial_epoch=1), expected[3:])
    assert equal([rare.open(labels, 3).training_batch(1, 1)], [expected[4]])
    monkeypatch.setattr(reading, "PARALLEL", 1)
    assert equal(batches(rare, labels), expected)
    stream = rare.open(labels).stream
    orders = [tuple(replace(stream, seed=seed).indices(epoch, 0)) for seed in range(3) for epoch in range(4)]
    assert len(set(orders)) > 4  # of 25 pairs


def test_batch_names_are_those_of_the_drawn_examples(rare: Data, labels: Labels) -> None:
    opened = rare.open(labels, 3)
    names = []
    for number, (image, mask) in enumerate(batches(rare, labels)):
        found = opened.batch_names(*divmod(number, 3))
        assert [str(pixels[0, 0, 0]) for pixels in image][: len(found)] == list(found)
        assert [bool((ids == 255).all()) for ids in mask] == [False] * len(found) + [True] * (2 - len(found))
        names += found
    assert len(names) == 15 and max(Counter(names[:5]).values()) > 1


def test_example_drawn_twice_in_an_epoch_is_augmented_twice(rare: Data, labels: Labels) -> None:
    seen: dict[tuple[int, int], set[bytes]] = {}
    repeats = 0
    for number, (image, mask) in enumerate(batches(rare, labels, epochs=6)):
        for pixels, ids in zip(image, mask, strict=True):
            if (ids != 255).any():
                crops = seen.setdefault((number // 3, int(pixels[0, 0, 0])), set())
                repeats += bool(crops)
                assert pixels.tobytes() not in crops
                crops.add(pixels.tobytes())
    assert repeats > 5


def test_masks_are_read_once_per_dataset(rare: Data, labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    count = Dataset._histograms

    def counted(self: Dataset, examples: Any) -> np.ndarray:
        read.append(examples.listing.split)
        return count(self, examples)

    monkeypatch.setattr(Dataset, "_histograms", counted)
    opened = replace(rare, crop=ClassCrop(size=12, around="rare")).open(labels)
    opened.training(epochs=1)
    opened.class_counts()
    opened.training(epochs=2)
    assert read == ["train"]
    replace(rare, sampling=None).open(labels).training(epochs=1)
    assert read == ["train"], "masks are only read for an option that needs them"


def test_boxes_are_drawn_by_their_classes() -> None:
    data = Data(source=Shapes(size=48, train=12), batch_size=4, boxes=ObjectBoxes(min_pixels=9, size=16))
    opened = replace(data, sampling=ClassSampling()).open(THREE)
    masks = [opened.training_examples.mask(index)[0] for index in tf.range(opened.training_examples.count)]
    histograms = np.stack([np.bincount(mask.numpy().ravel(), minlength=256)[[0, 1, 2, 255]] for mask in masks])
    np.testing.assert_allclose(opened.stream.probabilities, reference(histograms, 0.5))
    assert opened.steps_per_epoch == data.open(THREE).steps_per_epoch


@spec
class Replaced(MixSpec):
    """Replaces an example by its partner."""

    type: Literal["replaced"] = "replaced"
    PARTNERS: ClassVar[int] = 1
    probability: float = 1.0

    def __call__(self, pairs: Any, seed: tf.Tensor, view: View) -> Pair:
        return pairs[1]  # type: ignore[no-any-return]


def test_partners_are_drawn_by_rarity_too(rare: Data, labels: Labels) -> None:
    """Partners are examples at other positions of the epoch."""
    opened = rare.open(labels, 3)
    mixed = replace(opened.stream, chain=replace(opened.stream.chain, ops=(Replaced(),)))
    result = list(mixed.batches(0, 0, 60).as_numpy_iterator())
    often = sum((ids == 1).any() for _, mask in result for ids in mask)
    assert 100 * 0.6 * 0.75 < often < 100 * 0.6 * 1.25
    for epoch in range(20):
        numbers = {index for step in range(3) for index in opened.stream.indices(epoch, step)}
        assert {int(image[0, 0, 0]) for pair in result[3 * epoch : 3 * epoch + 3] for image in pair[0]} <= numbers
