"""Order, reproducibility and padding of batches, for training and evaluation."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfseg.data import ColorJitter, Data, Flip, Folder, ObjectBoxes, Scale, Shapes, reading
from tfseg.data.augment import FILL
from tfseg.data.batches import ExampleStream
from tfseg.errors import DataError
from tfseg.labels import Labels

AUGMENT = (Scale(min=0.5, max=1.5), Flip(), ColorJitter())
Batch = tuple[np.ndarray, np.ndarray]


def batches(data: Data, labels: Labels, **options: int) -> list[Batch]:
    options = {"seed": 3, "epochs": 2, **options}
    return list(data.open(labels, options.pop("seed")).training(**options).as_numpy_iterator())


def equal(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(first, second)
        for pair in zip(one, other, strict=True)
        for first, second in zip(*pair, strict=True)
    )


@pytest.fixture
def augmented(folder: Path) -> Data:
    return Data(source=Folder(), root=folder, batch_size=2, crop=(16, 18), augment=AUGMENT)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("parallel", [pytest.param(1, marks=pytest.mark.slow), 8, tf.data.AUTOTUNE])
def test_batches_do_not_depend_on_parallelism(
    augmented: Data, labels: Labels, parallel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = batches(augmented, labels)
    monkeypatch.setattr(reading, "PARALLEL", parallel)
    assert equal(batches(augmented, labels), expected)


def test_training_can_resume_at_any_epoch(augmented: Data, labels: Labels) -> None:
    expected = batches(augmented, labels, epochs=4)
    steps = augmented.open(labels).steps_per_epoch
    assert (steps, len(expected)) == (3, 12)
    for epoch in (1, 3):
        assert equal(batches(augmented, labels, epochs=4, initial_epoch=epoch), expected[epoch * steps :])
    assert batches(augmented, labels, epochs=4, initial_epoch=4) == []


def test_batches_differ_between_seeds_and_epochs(augmented: Data, labels: Labels) -> None:
    images = [image.tobytes() for seed in (0, 1) for image, _ in batches(augmented, labels, seed=seed, epochs=3)]
    assert len(set(images)) == len(images)


def test_every_epoch_contains_every_example_once(data: Data, labels: Labels) -> None:
    """The red channel of an image is its number; the last of the batches of 2 has one ignored padding example."""
    orders = set()
    for seed in range(4):
        result = batches(data, labels, seed=seed, epochs=3)
        for epoch in range(3):
            numbers, padding = [], 0
            for image, mask in result[3 * epoch : 3 * epoch + 3]:
                for pixels, ids in zip(image, mask, strict=True):
                    if (ids == 255).all():
                        padding += 1
                    else:
                        numbers.append(int(pixels[0, 0, 0]))
            assert sorted(numbers) == [0, 1, 2, 3, 4] and padding == 1
            orders.add(tuple(numbers))
    assert len(orders) > 8


def stream(count: int) -> ExampleStream:
    labels = Labels(names=("ground", "disc", "square"))
    data = Data(source=Shapes(size=16, train=count, val=1), batch_size=5)
    return data.open(labels, 3).stream


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        (None, "fc7e8735c0577782563e9a9640acbfea5e395c959ed215673ded1334f529e3be"),
        (ObjectBoxes(min_pixels=9, size=24), "ea8cb142d1d8c592cac22c9aa1d44fa5aa054ce16555cead303d87f349d4deaa"),
    ],
)
def test_golden_batches_of_a_seed(boxes: ObjectBoxes | None, expected: str) -> None:
    """Order, boxes, crop and flip are integer operations, so trainings of earlier versions can be repeated.

    For boxes only masks are compared, since nearest-neighbor interpolation is an integer operation too.
    """
    labels = Labels(names=("ground", "disc", "square"))
    data = Data(source=Shapes(size=32, train=5), batch_size=2, crop=20, augment=(Flip(),), boxes=boxes)
    digest = hashlib.sha256()
    for image, mask in batches(data, labels):
        digest.update(image.tobytes() if boxes is None else b"")
        digest.update(mask.astype("<i4").tobytes())
    assert digest.hexdigest() == expected


@pytest.mark.parametrize("count", [367, 10_582])
def test_orders_do_not_repeat(count: int) -> None:
    """TensorFlow's shuffle alone repeats orders: epoch e as e + 256, and seed 3 as 259, up to 65,536 examples."""
    numbers = [0, 1, 2, 255, 256, 257, 512, 65_536, 2**31 - 1]
    orders = {tuple(stream(count).indices(epoch, 0)) for epoch in numbers}
    seeds = {tuple(replace(stream(count), seed=seed).indices(5, 0)) for seed in numbers}
    assert len(orders) == len(seeds) == len(numbers)


def test_orders_are_uniform() -> None:
    """Positions of five examples in 2,000 epochs: each count is within 5 standard deviations of its mean."""
    examples, positions = stream(5), tf.range(5, dtype=tf.int64)
    order = tf.function(lambda epoch: tf.map_fn(lambda position: examples._shuffled(position, epoch), positions))
    orders = np.stack([order(tf.constant(epoch, tf.int64)) for epoch in range(2000)])
    counts = np.stack([np.bincount(orders[:, position], minlength=5) for position in range(5)])
    assert np.abs(counts - 400).max() < 5 * (2000 * 0.2 * 0.8) ** 0.5


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("batch_size", [2, 3, 4, 7, 13])
def test_batches_are_full_and_padded_with_their_own_images(folder: Path, labels: Labels, batch_size: int) -> None:
    data = Data(source=Folder(), root=folder, batch_size=batch_size)
    result = batches(data, labels, epochs=1)
    assert len(result) == data.open(labels).steps_per_epoch == -(-5 // batch_size)
    assert all(len(image) == len(mask) == batch_size for image, mask in result)
    image, mask = result[-1]
    real = 5 - batch_size * (len(result) - 1)
    for index in range(real, batch_size):
        assert (mask[index] == labels.ignore).all()
        np.testing.assert_array_equal(image[index], image[(index - real) % real])
    assert all((ids != 255).any() for ids in mask[:real])


def test_batch_names(augmented: Data, labels: Labels) -> None:
    data = Data(source=augmented.source, root=augmented.root, batch_size=2)
    for number, (image, _) in enumerate(batches(data, labels)):
        names = data.open(labels, 3).batch_names(*divmod(number, 3))
        assert [str(pixels[0, 0, 0]) for pixels in image][: len(names)] == list(names)
        assert len(names) == (1 if number % 3 == 2 else 2)


def test_training_batch_equals_that_of_the_stream(augmented: Data, labels: Labels) -> None:
    expected = batches(augmented, labels)
    for number in (0, 2, 4):
        assert equal([augmented.open(labels, 3).training_batch(*divmod(number, 3))], [expected[number]])


def test_cached_examples_are_unchanged(augmented: Data, labels: Labels) -> None:
    cached = Data(
        source=augmented.source, root=augmented.root, batch_size=2, crop=(16, 18), augment=AUGMENT, cache=True
    )
    assert equal(batches(cached, labels), batches(augmented, labels))


def test_cached_examples_are_not_read_again(folder: Path, labels: Labels) -> None:
    dataset = Data(source=Folder(), root=folder, batch_size=2, cache=True).open(labels).training(epochs=1)
    for file in (folder / "train").rglob("*.png"):
        file.unlink()
    assert len(list(dataset)) == 3


def test_element_specs_have_static_shapes(augmented: Data, data: Data, labels: Labels) -> None:
    def spec(data: Data) -> list[tuple[list[int | None], tf.DType]]:
        return [(part.shape.as_list(), part.dtype) for part in data.open(labels).training(epochs=1).element_spec]

    assert spec(augmented) == [([2, 16, 18, 3], tf.uint8), ([2, 16, 18], tf.int32)]
    assert spec(data) == [([2, None, None, 3], tf.uint8), ([2, None, None], tf.int32)]
    assert spec(Data(source=Shapes(size=16), batch_size=2)) == [([2, 16, 16, 3], tf.uint8), ([2, 16, 16], tf.int32)]
    assert data.open(labels).training(epochs=4, initial_epoch=1).cardinality() == 9


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("fill", [pytest.param(FILL, marks=pytest.mark.slow), 0, (123, 117, 104)])
def test_images_of_different_sizes_are_padded(data: Data, labels: Labels, fill: int | tuple[int, ...]) -> None:
    data = replace(data, fill=fill)
    image, mask = next(iter(data.open(labels).evaluation("train", batch_size=5).as_numpy_iterator()))
    assert image.shape == (5, 24, 30, 3)
    for number in range(5):
        height, width = 20 + number, 30 - number
        assert (mask[number, :height, :width] < 4).all()
        assert (mask[number, height:] == 255).all() and (mask[number, :, width:] == 255).all()
        assert (image[number, height:] == fill).all() and (image[number, :, width:] == fill).all()
        (single, _), *_ = data.open(labels).evaluation("train").skip(number).as_numpy_iterator()
        np.testing.assert_array_equal(image[number, :height, :width], single[0])


def test_evaluation_contains_every_image_once_in_file_order(data: Data, labels: Labels) -> None:
    assert data.open(labels).names("train") == ("0", "1", "2", "3", "4")
    for batch_size in (1, 2, 5, 8):
        result = [
            (int(pixels[0, 0, 0]), int((ids != 255).sum()))
            for image, mask in data.open(labels).evaluation("train", batch_size=batch_size).as_numpy_iterator()
            for pixels, ids in zip(image, mask, strict=True)
        ]
        assert len(result) == -(-5 // batch_size) * batch_size
        assert result[:5] == [(number, (20 + number) * (30 - number)) for number in range(5)]
        assert all(valid == 0 for _, valid in result[5:])


def test_batch_size_must_be_a_multiple_of_the_devices(data: Data, labels: Labels) -> None:
    assert next(iter(data.open(labels).training(epochs=1, batch_multiple=2)))[0].shape[0] == 2
    text = (
        "data.batch_size: expected a multiple of 3, the number of devices. "
        "Received: 2. Change the batch size or `training.strategy`."
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        data.open(labels).training(epochs=1, batch_multiple=3)


def test_gray_images_with_binary_masks(shared: Path) -> None:
    """ISBI 2012 membranes: gray images, black and white masks, no splits."""
    source = Folder(
        images="train/image/{name}.png", masks="train/label/{name}.png", channels=1,
        fractions={"train": 0.8, "val": 0.2}, mask={"type": "binary"},
    )  # fmt: skip
    two = Labels(names=("membrane", "cell"))
    data = Data(source=source, root=shared / "data" / "isbi2012_membrane", batch_size=4, crop=128)
    assert (data.open(two).count("train"), data.open(two).count("val")) == (8, 2)
    for image, mask in batches(data, two, epochs=1):
        assert image.shape == (4, 128, 128, 1) and mask.shape == (4, 128, 128)
        assert set(np.unique(mask)) == {0, 1}
    counts = data.open(two).pixel_counts("train")
    assert counts.classes.sum() == 8 * 512 * 512 and counts.ignored == 0
    assert counts.classes[1] > 3 * counts.classes[0]


def test_autotuning_is_disabled(data: Data, labels: Labels) -> None:
    """Also in datasets derived for `model.fit`: an autotuned iterator waits for its tuning thread to wake up."""
    training, evaluation = data.open(labels).training(epochs=1), data.open(labels).evaluation("train")
    for dataset in (
        training,
        evaluation,
        data.open(labels).evaluation("train", replicas=2),
        training.map(lambda *pair: pair),
    ):
        assert dataset.options().autotune.enabled is False
