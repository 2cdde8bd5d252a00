"""Arrays and `tf.data` datasets passed from Python: batches, checks and messages."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfseg.data import (
    ClassCrop,
    ClassMix,
    ClassSampling,
    Data,
    Flip,
    ObjectBoxes,
    PassedDataset,
    Scale,
    Shapes,
    explained,
)
from tfseg.data.augment import View, augmented
from tfseg.data.contract import AnyDataset
from tfseg.data.pair_checks import PairCheck
from tfseg.data.passed import open_part, open_training
from tfseg.errors import DataError
from tfseg.labels import Labels

LABELS = Labels(names=("ground", "disc", "square"))
SPEC = Data(source=Shapes(size=32), batch_size=4)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (10, 20, 24, 3), np.uint8)
MASKS = RNG.choice(np.array([0, 1, 2, 255], np.uint8), (10, 20, 24))
Batches = list[tuple[np.ndarray, np.ndarray]]


def stream(images: Any = IMAGES, masks: Any = MASKS) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((images, masks))


def opened(
    training: Any, validation: Any = (IMAGES[:1], MASKS[:1]), spec: Data = SPEC, **options: Any
) -> PassedDataset:
    given: dict[str, Any] = {"labels": LABELS, "seed": 3, "channels": 3, "log": lambda line: None, **options}
    return open_training(spec, training=training, validation=validation, **given)[1]


def part(passed: Any, spec: Data = SPEC, log: Callable[[str], None] = lambda line: None) -> AnyDataset:
    return open_part(passed, PairCheck("data", 3, LABELS), spec, "val", log=log)


def batches(data: AnyDataset, epochs: int = 2, initial_epoch: int = 0) -> Batches:
    return list(data.training(epochs=epochs, initial_epoch=initial_epoch).as_numpy_iterator())


def assert_equal(first: Any, second: Any) -> None:
    """Checks pairs of arrays for equal values and dtypes."""
    for pair, other in zip(first, second, strict=True):
        for left, right in zip(pair, other, strict=True):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)


# Arrays


@pytest.mark.parametrize(
    "fields",
    [
        {"crop": 24, "augment": (Flip(),)},
        pytest.param({"boxes": ObjectBoxes(min_pixels=9, size=16)}, marks=pytest.mark.slow),
    ],
    ids=["crop", "boxes"],
)
def test_arrays_give_the_batches_of_files_with_the_same_examples(
    data: Data, labels: Labels, fields: dict[str, Any]
) -> None:
    spec = replace(data, **fields)
    source = spec.open(labels, seed=3)
    pairs = [[(image[0], mask[0]) for image, mask in whole(source, split)] for split in ("train", "val")]
    given = [tuple(zip(*split, strict=True)) for split in pairs]
    passed = opened(*given, replace(spec, cache=True), labels=labels)
    assert passed.steps_per_epoch == source.steps_per_epoch and passed.count("val") == 3
    assert_equal(batches(passed), batches(source))
    assert_equal(whole(passed, "val"), whole(source, "val"))
    assert_equal([passed.training_batch(1, 0)], [source.training_batch(1, 0)])
    assert_equal([passed.class_counts()], [source.class_counts()])
    assert passed.batch_names(0, 0)[0].startswith("training[")


def whole(data: AnyDataset, split: str, **options: Any) -> Batches:
    return list(data.evaluation(split, **options).as_numpy_iterator())


@pytest.mark.parametrize(
    "pair",
    [
        [IMAGES, MASKS],
        (IMAGES.astype(np.float32) + 0.25, MASKS.astype(np.float64)),
        (IMAGES.astype(np.int64), MASKS[..., None].astype(np.int64)),
        (tf.constant(IMAGES), tf.constant(MASKS)),
        (list(IMAGES), list(MASKS)),
        (np.asfortranarray(IMAGES), MASKS[:, ::-1][:, ::-1]),
    ],
    ids=["list", "float", "int64", "tensor", "lists", "not contiguous"],
)
def test_kinds_of_arrays(pair: Any) -> None:
    found = whole(part(pair), "val", batch_size=10)
    assert_equal(found, [(IMAGES, MASKS.astype(np.int32))])


def test_arrays_of_different_sizes() -> None:
    images = [image[: 10 + index] for index, image in enumerate(IMAGES)]
    masks = [mask[: 10 + index] for index, mask in enumerate(MASKS)]
    objects = np.empty(10, object), np.empty(10, object)
    for index in range(10):
        objects[0][index], objects[1][index] = images[index], masks[index]
    for pair in ((images, masks), objects):
        data = part(pair)
        for (image, mask), *expected in zip(whole(data, "val"), images, masks, strict=True):
            np.testing.assert_array_equal(image[0], expected[0])
            np.testing.assert_array_equal(mask[0], expected[1])


def test_boolean_masks_are_classes_0_and_1() -> None:
    data = part((IMAGES, MASKS == 1))
    np.testing.assert_array_equal(np.concatenate([mask for _, mask in whole(data, "val")]), MASKS == 1)


def test_ids_of_many_classes() -> None:
    labels = Labels(names=tuple(map(str, range(302))), ignore=65535)
    masks = MASKS.astype(np.int64) + 40
    data = open_part((IMAGES, masks), PairCheck("data", 3, labels), SPEC, "val")
    np.testing.assert_array_equal(np.concatenate([mask for _, mask in whole(data, "val")]), masks)


def test_later_changes_of_the_arrays_have_no_effect() -> None:
    images, masks = IMAGES.copy(), MASKS.copy()
    data = part((images, masks))
    images[:], masks[:] = 0, 0
    assert_equal(whole(data, "val", batch_size=10), [(IMAGES, MASKS.astype(np.int32))])


# Datasets of single examples


def test_examples_are_augmented_by_seed_epoch_and_number() -> None:
    spec = replace(SPEC, crop=16, augment=(Scale(), Flip()))
    data = opened(stream(), spec=spec)
    found = batches(data)
    for number in range(20):
        epoch, index = divmod(number, 10)
        key = tf.random.experimental.stateless_fold_in(tf.constant([3, epoch], tf.int64), tf.constant(index, tf.int64))
        pair = tf.constant(IMAGES[index]), tf.constant(MASKS[index])
        image, mask = augmented(*pair, key, spec.augment, View(255, (16, 16), spec.fills))
        batch, row = found[epoch * 3 + index // 4], index % 4
        np.testing.assert_array_equal(batch[0][row], image)
        np.testing.assert_array_equal(batch[1][row], mask)
    assert_equal(batches(data, initial_epoch=1), found[3:])
    assert_equal([data.training_batch(1, 2)], found[5:])
    assert data.batch_names(1, 2) == ("training example 8", "training example 9")


@pytest.mark.parametrize("sizes", [4, 16])
def test_last_batch_is_filled_up_like_that_of_files(sizes: int) -> None:
    """The last batch of both kinds of datasets and of arrays has copies of its own images, which are ignored."""
    single = opened(stream(), spec=replace(SPEC, batch_size=sizes))
    for image, mask in batches(single):
        assert image.shape[0] == mask.shape[0] == sizes
    own = 10 - (single.steps_per_epoch - 1) * sizes
    image, mask = batches(single)[-1]
    np.testing.assert_array_equal(image, IMAGES[-own:][np.arange(sizes) % own])
    np.testing.assert_array_equal(mask[:own], MASKS[-own:])
    assert (mask[own:] == 255).all()
    if sizes < 10:
        assert_equal(batches(opened(stream().batch(sizes))), batches(single))


def test_images_of_different_sizes_are_padded() -> None:
    def pairs() -> Iterator[Any]:
        for index in range(10):
            yield IMAGES[index, : 10 + index], MASKS[index, : 10 + index]

    unknown = tf.data.Dataset.from_generator(pairs, output_types=(tf.uint8, tf.uint8))
    lines: list[str] = []
    data = opened(unknown, log=lines.append)
    assert lines == ["training: counting the elements, since the dataset does not know their number"]
    for (image, mask), start in zip(batches(data, epochs=1), (0, 4, 8), strict=True):
        for row, index in enumerate(range(start, min(start + 4, 10))):
            size = 10 + index
            np.testing.assert_array_equal(image[row, :size], IMAGES[index, :size])
            np.testing.assert_array_equal(mask[row, :size], MASKS[index, :size])
            assert (image[row, size:] == SPEC.fill).all() and (mask[row, size:] == 255).all()
    for index, (image, _) in enumerate(whole(part(unknown), "val")):
        np.testing.assert_array_equal(image[0], IMAGES[index, : 10 + index])


# Datasets of batches


def test_batches_are_used_as_they_are() -> None:
    first = tf.data.Dataset.from_tensor_slices({"image": IMAGES.astype(np.float32), "mask": MASKS[..., None]}).batch(3)
    spec, data = open_training(
        SPEC, LABELS, 0, 3, first.concatenate(first.unbatch().batch(5)), (IMAGES, MASKS), lambda line: None
    )
    assert (spec.batch_size, spec.source.train, spec.source.val, data.steps_per_epoch) == (3, 6, 10, 6)
    found = batches(data, epochs=1)
    assert [len(image) for image, _ in found] == [3, 3, 3, 3, 5, 5]
    np.testing.assert_array_equal(np.concatenate([image for image, _ in found[4:]]), IMAGES)
    np.testing.assert_array_equal(np.concatenate([mask for _, mask in found[4:]]), MASKS)
    assert found[0][0].dtype == np.uint8 and found[0][1].dtype == np.int32
    assert data.batch_names(0, 5) == ("training batch 5",)
    assert_equal([data.training_batch(0, 3)], found[3:4])


def test_static_batch_size_is_kept() -> None:
    data = opened(stream().batch(5, drop_remainder=True))
    assert data.training(epochs=1).element_spec[0].shape.as_list() == [5, 20, 24, 3]


def test_batches_are_filled_up_to_a_multiple_of_the_devices() -> None:
    passed = stream().batch(4).concatenate(stream(IMAGES[:5], MASKS[:5]).batch(5))
    sizes = [len(image) for image, _ in opened(passed).training(epochs=1, batch_multiple=2).as_numpy_iterator()]
    assert sizes == [4, 4, 4, 6]
    message = (
        "training: received batches of 5 images. Expected a multiple of 2, the number of devices. Change the batch "
        "size or `training.strategy`."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        opened(stream().batch(5)).training(epochs=1, batch_multiple=2)


# Evaluation and counts


@pytest.mark.parametrize("passed", [stream(), stream().batch(4), stream(IMAGES * 1.0).batch(4), (IMAGES, MASKS)])
def test_evaluation_has_every_example_once_in_order(passed: Any) -> None:
    lines: list[str] = []
    data = part(passed, replace(SPEC, crop=8, augment=(Flip(),)), lines.append)
    names = data.names("anything" if isinstance(passed, tf.data.Dataset) else "val")
    assert len(names) == len(set(names)) == 10
    for replicas in (1, 2):
        found = whole(data, "val", replicas=replicas)
        assert all(len(image) == replicas for image, _ in found)
        np.testing.assert_array_equal(np.stack([image[0] for image, _ in found]), IMAGES)
        np.testing.assert_array_equal(np.stack([mask[0] for _, mask in found]), MASKS)
        assert all((mask[1:] == 255).all() for _, mask in found)
    image, mask = whole(data, "val", batch_size=4)[2]
    assert image.shape == (4, 20, 24, 3) and (mask[2:] == 255).all()
    counting = ["data: counting the images of all batches"]
    assert lines == (counting if getattr(passed, "element_spec", None) and data.in_batches else [])  # type: ignore[attr-defined]


@pytest.mark.parametrize("passed", [stream(), stream().batch(4), (IMAGES, MASKS)], ids=["single", "batches", "arrays"])
def test_pixels_of_classes_are_counted(passed: Any) -> None:
    lines: list[str] = []
    classes, image_pixels = opened(passed, log=lines.append).class_counts()
    present = [[(mask == label).any() for label in range(3)] for mask in MASKS]
    np.testing.assert_array_equal(classes, [(label == MASKS).sum() for label in range(3)])
    np.testing.assert_array_equal(image_pixels, np.sum(present, 0) * 20 * 24)
    assert lines == ([] if isinstance(passed, tuple) else ["training: counting the pixels of each class"])


# Checks

NUMBERS = ". Expected uint8, or other integers or floats of up to 64 bits: convert it with image.astype."
INTEGERS = ". Expected integer class ids of up to 64 bits: convert it with mask.astype."
LONG = np.dtype(np.longdouble).name
RANGE = "Expected 0 to 2 (labels), or 255 (ignore)."
SINGLE = "Expected [height, width, 3], since model.channels is 3."
EITHER = "Expected [height, width, 3] or [batch, height, width, 3], since model.channels is 3."
ADVICE = ". For one-hot masks, take the argmax over the last axis."
IDS = f"Expected class ids of shape [20, 24] or [20, 24, 1]{ADVICE}"
SCALE = (
    "training: received images with values from 0 to 1. Expected 0 to 255, as in image files, because networks of "
    "tfseg normalize pixels themselves: multiply the images by 255."
)
PAIR = '. Expected dense tensors, (image, mask) or {"image": image, "mask": mask}.'
ONE_HOT = np.eye(3)[MASKS % 3]
NANS = np.where(IMAGES > 254, np.nan, IMAGES)
FIRST = int(MASKS[0, 0, 0])


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (IMAGES[..., 0], MASKS, f"[0]: received an image of shape [20, 24]. {SINGLE}"),
        (IMAGES[..., :1], MASKS, f"[0]: received an image of shape [20, 24, 1]. {SINGLE}"),
        (None, [MASKS[0]], f"[0]: received an image of shape []. {SINGLE}"),
        (IMAGES, ONE_HOT, f"[0]: received a mask of shape [20, 24, 3] for an image of shape [20, 24, 3]. {IDS}"),
        (
            [IMAGES[0]],
            [MASKS[0, :4]],
            f"[0]: received a mask of shape [4, 24] for an image of shape [20, 24, 3]. {IDS}",
        ),
        (
            IMAGES[:, :0],
            MASKS[:, :0],
            "[0]: received an image of shape [0, 24, 3] and a mask of shape [0, 24]. Expected the same height and "
            "width, at least 1.",
        ),
        (IMAGES.astype(complex), MASKS, f"[0]: received an image of dtype complex128{NUMBERS}"),
        (IMAGES.astype("M8[s]"), MASKS, f"[0]: received an image of dtype datetime64[s]{NUMBERS}"),
        (IMAGES.astype(np.longdouble), MASKS, f"[0]: received an image of dtype {LONG}{NUMBERS}"),
        (IMAGES.astype("U1"), MASKS, f"[0]: received an image of dtype str32{NUMBERS}"),
        (IMAGES, MASKS.astype(complex), f"[0]: received a mask of dtype complex128{INTEGERS}"),
        (IMAGES, MASKS.astype("m8[s]"), f"[0]: received a mask of dtype timedelta64[s]{INTEGERS}"),
        (IMAGES, MASKS.astype(np.longdouble), f"[0]: received a mask of dtype {LONG}{INTEGERS}"),
        (IMAGES, np.full(MASKS.shape, 2**63, np.uint64), f"[0]: received a mask with the value {2**63}. {RANGE}"),
        (IMAGES * np.float32(2), MASKS, "[0]: received an image with values from 0 to 510. Expected 0 to 255."),
        (IMAGES - 1.0, MASKS, "[0]: received an image with values from -1 to 254. Expected 0 to 255."),
        (NANS, MASKS, "[0]: received an image with values from nan to nan. Expected 0 to 255."),
        (np.uint16([IMAGES[0]]) + 1, MASKS[:1], "[0]: received an image with values from 1 to 256. Expected 0 to 255."),
        (IMAGES / 255, MASKS, SCALE.removeprefix("training")),
        (IMAGES, np.full_like(MASKS, 3), f"[0]: received a mask with the value 3. {RANGE}"),
        (IMAGES, MASKS + 0.5, f"[0]: received a mask with the value {FIRST + 0.5:g}. {RANGE}"),
        (IMAGES, np.full(MASKS.shape, 2**40), f"[0]: received a mask with the value {2**40}. {RANGE}"),
        (IMAGES, np.full(MASKS.shape, -1), f"[0]: received a mask with the value -1. {RANGE}"),
        (IMAGES, MASKS[:5], ": received 10 images and 5 masks. Expected a mask for every image, and at least one."),
        ([], [], ": received 0 images and 0 masks. Expected a mask for every image, and at least one."),
    ],
)
def test_invalid_arrays(images: Any, masks: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        opened((images, masks))
    assert str(error.value) == f"training{message}"


@pytest.mark.parametrize(
    ("passed", "message"),
    [
        (stream(MASKS, MASKS), f"training: received an image of shape [20, 24]. {EITHER}"),
        (
            stream(IMAGES, ONE_HOT).batch(2),
            "training: received a mask of shape [?, 20, 24, 3] for an image of shape [?, 20, 24, 3]. Expected "
            f"class ids of shape [?, 20, 24] or [?, 20, 24, 1]{ADVICE}",
        ),
        (stream(IMAGES, MASKS * 0 + 9).batch(2), f"training batch 0: received a mask with the value 9. {RANGE}"),
        (stream(IMAGES / 255), SCALE),
        (
            stream().repeat(),
            "training: received an infinite tf.data.Dataset. Expected the elements of one epoch: remove .repeat(), or "
            "limit it by .take(count).",
        ),
        (stream().take(0), "training: received an empty tf.data.Dataset. Expected at least one element."),
        (
            tf.data.Dataset.zip(stream(), stream()).map(lambda first, second: (*first, second[1])),
            "training: received elements of three parts. Expected (image, mask): sample weights are not supported. "
            "Give pixels without influence the ignore label, and weight classes by training.loss.class_weights.",
        ),
        (
            tf.data.Dataset.from_tensor_slices({"image": [1]}),
            f"training: received elements {{'image': TensorSpec(shape=(), dtype=tf.int32, name=None)}}{PAIR}",
        ),
        (
            tf.data.Dataset.range(2),
            f"training: received elements TensorSpec(shape=(), dtype=tf.int64, name=None){PAIR}",
        ),
    ],
)
def test_invalid_datasets(passed: tf.data.Dataset, message: str) -> None:
    with pytest.raises(DataError) as error:
        opened(passed)
    assert str(error.value) == message


@pytest.mark.parametrize("size", [None, 2])
def test_later_elements_are_checked_when_they_are_read(size: int | None) -> None:
    masks = np.where(np.arange(10)[:, None, None] == 9, 77, MASKS)
    passed = stream(IMAGES, masks).batch(size) if size else stream(IMAGES, masks)
    data = opened(passed)
    name = "training batch 4" if size else "training example 9"
    for read in (lambda: batches(data), lambda: data.training_batch(0, data.steps_per_epoch - 1)):
        with pytest.raises(DataError) as error, explained():
            read()
        assert str(error.value) == f"{name}: received a mask with the value 77. {RANGE}"


@pytest.mark.parametrize(("later", "words"), [(0, "only 0"), (6, "only 6"), (12, "at least 11")])
def test_datasets_with_another_number_of_elements_later(later: int, words: str) -> None:
    """A generator that gives ten examples at first, and another number afterwards."""
    calls: list[int] = []

    def pairs() -> Iterator[Any]:
        calls.append(0)
        count = 10 if len(calls) < 3 else later
        yield from zip(np.resize(IMAGES, (count, 20, 24, 3)), np.resize(MASKS, (count, 20, 24)), strict=True)

    signature = tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([None, None], tf.uint8)
    data = opened(tf.data.Dataset.from_generator(pairs, output_signature=signature))
    with pytest.raises(DataError) as error, explained():
        batches(data)
    assert str(error.value) == (
        f"a tf.data.Dataset has {words} elements, and had 10 at first. Expected the same number whenever it is "
        "iterated, as from a generator function that starts again."
    )


@pytest.mark.parametrize(
    ("value", "received"),
    [(3, "int"), ("ab", "str"), ({}, "dict"), ((1, 2, 3), "tuple of length 3"), ([1], "list of length 1")],
)
def test_arguments_of_other_types(value: Any, received: str) -> None:
    for pair in ((value, stream()), ((IMAGES, MASKS), value)):
        name = "training" if pair[0] is value else "validation"
        text = f"Expected `{name}` to be a tf.data.Dataset or a pair (images, masks) of arrays. Received: {received}"
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            opened(*pair)


def test_training_and_validation_are_required() -> None:
    for name, other in (("training", "validation"), ("validation", "training")):
        with pytest.raises(DataError) as error:
            opened(**{name: None, other: stream()})
        assert str(error.value) == (
            f"{name}: received None. Expected a tf.data.Dataset or arrays, because `{other}` is given: the run records "
            "only one source. To use files as well, pass pipeline.data.open(pipeline.labels).evaluation(split), a "
            "tf.data.Dataset."
        )


def test_fields_without_effect_on_a_dataset_are_rejected() -> None:
    spec = replace(SPEC, crop=16, augment=(Flip(),), boxes=ObjectBoxes(), cache=True, sampling=ClassSampling())
    for passed, message in (
        (
            stream().batch(2),
            "training: a tf.data.Dataset of batches is used as it is, so these fields have no effect: data.boxes, "
            "data.cache, data.sampling, data.augment, data.crop. Switch them off: tfseg.load(FILE, ['data.boxes=null', "
            "'data.cache=false', 'data.sampling=null', 'data.augment=[]', 'data.crop=null']); or pass single examples "
            "(dataset.unbatch()) or arrays.",
        ),
        (
            stream(),
            "training: a tf.data.Dataset of examples is read in its own order, so these fields have no effect: "
            "data.boxes, data.cache, data.sampling. Switch them off: tfseg.load(FILE, ['data.boxes=null', "
            "'data.cache=false', 'data.sampling=null']); or pass arrays.",
        ),
    ):
        with pytest.raises(DataError) as error:
            opened(passed, spec=spec)
        assert str(error.value) == message


def test_crops_chosen_by_classes_require_arrays() -> None:
    with pytest.raises(DataError) as error:
        opened(stream(), spec=replace(SPEC, crop=ClassCrop(size=16, max_share=0.5)))
    assert str(error.value) == (
        "data.crop: around and max_share need the class frequencies of all examples, which are not counted in a "
        "tf.data.Dataset. Set data.crop to 16, or pass arrays."
    )


def test_ops_that_mix_examples_require_arrays() -> None:
    with pytest.raises(DataError) as error:
        opened(stream(), spec=replace(SPEC, crop=16, augment=(ClassMix(),)))
    assert str(error.value) == (
        "data.augment: class_mix mixes an example with others of the epoch, which a tf.data.Dataset cannot load by "
        "index. Pass arrays, or mix in the dataset."
    )


def test_datasets_whose_elements_fail() -> None:
    def failing() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield IMAGES[0], MASKS[0]
        raise RuntimeError("no such file on the share")

    signature = tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((None, None), tf.uint8)
    with pytest.raises(DataError) as error:
        opened(tf.data.Dataset.from_generator(failing, output_signature=signature))
    assert str(error.value) == (
        "training: iterating over the tf.data.Dataset failed. Expected elements of one structure and no error. "
        "Received: RuntimeError: no such file on the share"
    )


def test_file_names_instead_of_images() -> None:
    with pytest.raises(
        DataError, match=r"training: received an image of shape \[\]\. Expected \[height, width, 3\] or"
    ):
        opened(tf.data.Dataset.from_tensor_slices((["a.png", "b.png"], MASKS[:2])))
