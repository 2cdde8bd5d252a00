"""Boxes as training examples: positions, cutting, labels and error messages."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.data.findings import messages
from tfseg.box_file import overlaps
from tfseg.data import Data, Flip, Folder, ObjectBoxes, ProposalBoxes
from tfseg.data.benchmark import bench
from tfseg.data.box_sampling import large
from tfseg.data.components import components
from tfseg.errors import DataError
from tfseg.labels import Labels

HEADER = "image,left,top,right,bottom,class\n"


@pytest.fixture
def scenes(tmp_path: Path, write: Callable[..., Path]) -> Data:
    """Two images: the first with two separate objects and a void pixel, the second with an object at the border."""
    random = np.random.default_rng(0)
    masks = np.zeros((2, 40, 60), int)
    masks[0, 5:15, 10:30] = 1
    masks[0, 8:10, 8:12] = 2
    masks[0, 20:36, 40:50] = 3
    masks[0, 6, 20] = 255
    masks[1, 0:20, 50:60] = 2
    for number, mask in enumerate(masks):
        for split in ("train", "val"):
            write(tmp_path / split / "images" / f"{number}.png", random.integers(1, 256, (40, 60, 3)))
            write(tmp_path / split / "masks" / f"{number}.png", mask, palette=True)
    return Data(source=Folder(), root=tmp_path, batch_size=2)


def stored(data: Data, labels: Labels) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the whole images and masks."""
    return [(image[0], mask[0]) for image, mask in data.open(labels).evaluation("train").as_numpy_iterator()]


def loaded(data: Data, labels: Labels) -> list[tuple[np.ndarray, ...]]:
    examples = data.open(labels).training_examples
    outputs = [examples.load(tf.constant(index, tf.int64)) for index in range(examples.count)]
    for index, (_, mask, _) in enumerate(outputs):
        np.testing.assert_array_equal(mask, examples.mask(tf.constant(index, tf.int64))[0])
    return [tuple(part.numpy() for part in parts) for parts in outputs]


def cut(values: np.ndarray, sides: list[int], fill: int) -> np.ndarray:
    """Cuts a box out of an array, pixel by pixel."""
    left, top, right, bottom = sides
    part = np.full((bottom - top, right - left, *values.shape[2:]), fill, values.dtype)
    for y, x in np.ndindex(*part.shape[:2]):
        if 0 <= top + y < values.shape[0] and 0 <= left + x < values.shape[1]:
            part[y, x] = values[top + y, left + x]
    return part


def test_object_boxes_include_context(scenes: Data, labels: Labels) -> None:
    data = replace(scenes, boxes=ObjectBoxes(min_pixels=9)).open(labels)
    names = data.training_examples.listing.names
    assert names == ("0 [8, 4, 32, 16]", "0 [39, 18, 51, 38]", "1 [49, -2, 61, 22]")
    all_objects = replace(scenes, boxes=ObjectBoxes(min_pixels=1)).open(labels).training_examples
    assert all_objects.count == 4, "the small component of class 2 partly covers class 1"
    assert data.steps_per_epoch == 2
    assert (data.count("train"), len(list(data.evaluation("train")))) == (2, 2), "evaluation uses whole images"


def test_only_the_class_of_the_object_is_kept(scenes: Data, labels: Labels) -> None:
    """At the size of the box nothing is interpolated."""
    whole = stored(scenes, labels)
    for index, (number, sides, identity) in enumerate(
        [(0, [8, 4, 32, 16], 1), (0, [39, 18, 51, 38], 3), (1, [49, -2, 61, 22], 2)]
    ):
        size = (sides[3] - sides[1], sides[2] - sides[0])
        data = replace(scenes, boxes=ObjectBoxes(min_pixels=9, size=size))
        image, mask, problem = loaded(data, labels)[index]
        ids = cut(whole[number][1], sides, 255)
        np.testing.assert_array_equal(image, cut(whole[number][0], sides, 0))
        np.testing.assert_array_equal(mask, np.where((ids == identity) | (ids == 255), ids, 0))
        assert problem == b""
        assert {0, identity} <= set(np.unique(mask))
    assert (image[:2] == 0).all() and (mask[:2] == 255).all(), "pixels outside the image are black and ignored"


def test_boxes_are_resized(scenes: Data, labels: Labels) -> None:
    """Nearest for masks and bilinear for images, at half-pixel centers, as Pillow and OpenCV enlarge."""
    image, mask, _ = loaded(replace(scenes, boxes=ObjectBoxes(min_pixels=9, size=(24, 48))), labels)[0]
    part = cut(stored(scenes, labels)[0][0], [8, 4, 32, 16], 0).astype(np.float64)
    for axis in (0, 1):
        position = np.clip((np.arange(2 * part.shape[axis]) + 0.5) / 2 - 0.5, 0, part.shape[axis] - 1)
        low = np.floor(position).astype(int)
        share = np.expand_dims(position - low, [1 - axis, 2])
        high = np.minimum(low + 1, part.shape[axis] - 1)
        part = part.take(low, axis) * (1 - share) + part.take(high, axis) * share
    np.testing.assert_allclose(image, part, atol=0.51)
    small = loaded(replace(scenes, boxes=ObjectBoxes(min_pixels=9, size=(12, 24))), labels)[0][1]
    np.testing.assert_array_equal(mask, small.repeat(2, 0).repeat(2, 1))


def test_proposals_overlap_objects_and_keep_all_classes(scenes: Data, labels: Labels) -> None:
    boxes = ProposalBoxes(min_pixels=9, overlap=0.7, per_object=20)
    data = replace(scenes, boxes=boxes)
    examples, whole = data.open(labels).training_examples, stored(scenes, labels)
    assert 6 < examples.count < 60
    for name, (image, mask, _) in zip(examples.listing.names, loaded(data, labels), strict=True):
        number, sides = int(name[0]), [int(side) for side in name[3:-1].split(",")]
        tight = large(components(whole[number][1], 255), 9).boxes
        assert overlaps(np.array([sides]), tight).max() >= 0.7
        assert set(np.unique(mask)) <= set(np.unique(cut(whole[number][1], sides, 255)))
        assert image.shape == (250, 250, 3)
    ids_of = {tuple(np.unique(mask)) for _, mask, _ in loaded(data, labels)}
    assert any(2 in ids and 1 in ids for ids in ids_of)
    looser = replace(scenes, boxes=replace(boxes, overlap=0.5)).open(labels).training_examples
    assert looser.count > examples.count


def test_boxes_depend_on_the_files_alone(scenes: Data, labels: Labels) -> None:
    first, again = (replace(scenes, boxes=ProposalBoxes(min_pixels=9)) for _ in range(2))
    names = first.open(labels).training_examples.listing.names
    assert names == again.open(labels).training_examples.listing.names
    one, other = ({name[3:] for name in names if name.startswith(prefix)} for prefix in ("0 ", "1 "))
    assert one and other and not one & other


def test_objects_of_a_box_file(scenes: Data, labels: Labels) -> None:
    file = scenes.root / "objects.csv"
    file.write_text(f"{HEADER}1,50,0,60,20,square\n0,10,5,30,15,1\n")
    examples = replace(scenes, boxes=ObjectBoxes(file=file, context=1.0)).open(labels).training_examples
    assert examples.listing.names == ("0 [10, 5, 30, 15]", "1 [50, 0, 60, 20]")
    ids = [set(np.unique(mask)) for _, mask, _ in loaded(replace(scenes, boxes=ObjectBoxes(file=file)), labels)]
    assert ids == [{0, 1, 255}, {0, 2, 255}]


def test_proposals_of_a_box_file(scenes: Data, labels: Labels) -> None:
    file = scenes.root / "proposals.csv"
    file.write_text("image,left,top,right,bottom\n0,9,4,31,16\n0,0,0,60,40\n0,40,20,50,36\n")
    examples = replace(scenes, boxes=ProposalBoxes(file=file)).open(labels).training_examples
    assert examples.listing.names == ("0 [9, 4, 31, 16]", "0 [40, 20, 50, 36]")


def test_boxes_are_reproducible(scenes: Data, labels: Labels) -> None:
    """Training can, as with whole images, resume anywhere, and names and single batches are those of the stream."""
    data = replace(scenes, boxes=ObjectBoxes(min_pixels=9), crop=224, augment=(Flip(),))

    def batches(**given: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        return list(data.open(labels, 3).training(epochs=3, **given).as_numpy_iterator())

    stream = batches()
    assert len(stream) == 6 and stream[0][0].shape == (2, 224, 224, 3)
    assert all(np.array_equal(a, b) for one, other in zip(batches(initial_epoch=2), stream[4:], strict=True)
               for a, b in zip(one, other, strict=True))  # fmt: skip
    image, mask = data.open(labels, 3).training_batch(1, 0)
    np.testing.assert_array_equal(image, stream[2][0])
    np.testing.assert_array_equal(mask, stream[2][1])
    assert any(np.any(one[0] != other[0]) for one, other in zip(stream[:2], stream[2:4], strict=True))
    names = [name for step in range(2) for name in data.open(labels, 3).batch_names(0, step)]
    assert sorted(names) == sorted(data.open(labels).training_examples.listing.names)


def test_cached_boxes_are_not_read_again(scenes: Data, labels: Labels) -> None:
    """With `cache`, each image is kept once for all its boxes, and no file is read again."""
    data = replace(scenes, boxes=ProposalBoxes(min_pixels=9), cache=True).open(labels)
    dataset, steps = data.training(epochs=1), data.steps_per_epoch
    for file in [file for files in data.files("train") for file in files]:
        Path(file).unlink()
    assert sum(1 for _ in dataset) == sum(1 for _ in data.training(epochs=1)) == steps > 4


def test_pixel_counts_are_those_of_the_boxes(scenes: Data, labels: Labels) -> None:
    data = replace(scenes, boxes=ObjectBoxes(min_pixels=9, size=(20, 12)))
    counts = data.open(labels).pixel_counts("train").classes
    np.testing.assert_array_equal(
        counts, sum(np.bincount(mask.ravel(), minlength=256)[:4] for _, mask, _ in loaded(data, labels))
    )
    assert data.open(labels).pixel_counts("val").classes.sum() == scenes.open(labels).pixel_counts("val").classes.sum()
    assert set(bench(data.open(labels), 4)) == {"read", "decode", "augment", "batch"}


def error_message(data: Data, labels: Labels) -> str:
    with pytest.raises(DataError) as error:
        _ = data.open(labels).training_examples
    assert messages(data.open(labels)) == (str(error.value),), "`tfseg data check` reports the same"
    return str(error.value)


def test_names_must_be_those_of_examples(scenes: Data, labels: Labels) -> None:
    file = scenes.root / "boxes.csv"
    file.write_text(f"{HEADER}0,0,0,4,4,1\n2007_1.jpg,0,0,4,4,1\n0.png,0,0,4,4,1\n2007_1.jpg,0,0,4,4,1\n")
    assert error_message(replace(scenes, boxes=ProposalBoxes(file=file)), labels) == (
        f"{file}:4: unknown image '0.png' (and 1 more). Expected the name of an example of the dataset, such as '0'."
    )


def test_boxes_outside_the_image_are_rejected(scenes: Data, labels: Labels) -> None:
    file = scenes.root / "boxes.csv"
    file.write_text(f"{HEADER}1,0,45,30,60,1\n")
    assert error_message(replace(scenes, boxes=ObjectBoxes(file=file)), labels) == (
        f"{file}:2: the box [0, 45, 30, 60] lies outside the image 1, which is 60x40. Expected left, top, right, "
        "bottom in pixels, with at least a quarter of the box in the image."
    )


@pytest.mark.first_cases(2)
@pytest.mark.parametrize(
    "text", ["", *(pytest.param(text, marks=pytest.mark.slow) for text in ("0", "cat")), "ground", "4"]
)
def test_objects_must_have_a_class(scenes: Data, labels: Labels, text: str) -> None:
    file = scenes.root / "boxes.csv"
    file.write_text(f"{HEADER}1,50,0,60,20,{text}\n")
    assert error_message(replace(scenes, boxes=ObjectBoxes(file=file)), labels) == (
        f"{file}:2: for data.boxes: objects, the column class must be a class name or id, from "
        f"'disc' (1) to 'ring' (3). Received: {text!r}."
    )


def test_no_boxes(scenes: Data, labels: Labels) -> None:
    assert error_message(replace(scenes, boxes=ObjectBoxes(min_pixels=5000)), labels) == (
        "data.boxes: no image of the split train has an object that is large enough. Received: type=objects. Change "
        "the fields of data.boxes, or set data.boxes to null for whole images."
    )
    file = scenes.root / "boxes.csv"
    file.write_text(f"{HEADER}0,0,0,4,4,1\n")
    assert error_message(replace(scenes, boxes=ProposalBoxes(file=file)), labels) == (
        f"data.boxes: no image of the split train has a suitable box in {file}. Received: type=proposals. Change the "
        "fields of data.boxes, or set data.boxes to null for whole images."
    )


def test_errors_name_corrupt_files(scenes: Data, labels: Labels) -> None:
    data = replace(scenes, boxes=ObjectBoxes(min_pixels=9)).open(labels)
    assert data.training_examples.count == 3
    image, mask = data.files("train")[0]
    Path(image).write_bytes(b"nothing")
    with pytest.raises(tf.errors.OpError) as error:
        list(data.training(epochs=1))
    assert image in str(error.value)
    Path(mask).write_bytes(b"nothing")
    with pytest.raises(DataError, match="the mask is not a PNG"):
        _ = data.spec.open(labels).training_examples
