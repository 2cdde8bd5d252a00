"""Training on windows of examples: the same batches as from whole examples."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfseg.data import ColorJitter, Data, Flip, ObjectBoxes, Rotate, Scale, Shapes
from tfseg.data.batches import ExampleStream
from tfseg.data.examples import Loaded, Window
from tfseg.data.reading import arrays
from tfseg.errors import DataError
from tfseg.labels import Labels

CHAINS = [(), (Scale(), Flip(), ColorJitter()), (Flip(), Scale(factors=(0.3, 2.5)), Rotate())]


def batches(stream: ExampleStream) -> list[np.ndarray]:
    parts = [part for pair in arrays(stream.batches(0, 0, stream.steps)) for part in pair]
    return [part.astype(np.int32) for part in parts]


def without_windows(stream: ExampleStream) -> ExampleStream:
    return replace(stream, examples=replace(stream.examples, load_window=None))


@pytest.mark.parametrize(("chain", "cache"), [(CHAINS[0], True), (CHAINS[1], False), (CHAINS[2], False)])
def test_batches_are_those_of_whole_examples(
    data: Data, labels: Labels, chain: tuple[object, ...], cache: bool
) -> None:
    stream = replace(data, crop=(22, 13), augment=chain, cache=cache).open(labels, 4).stream
    for one, other in zip(batches(stream), batches(without_windows(stream)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_batches_of_jpegs_are_those_of_whole_examples(data: Data, labels: Labels, folder: Path) -> None:
    for file in (folder / "train" / "images").iterdir():
        image = Image.open(io.BytesIO(file.read_bytes())).resize((90, 70), Image.Resampling.BICUBIC)
        file.unlink()
        image.save(file.with_suffix(".jpg"))
        mask = folder / "train" / "masks" / file.name
        Image.open(mask).resize((90, 70), Image.Resampling.NEAREST).save(mask)
    stream = replace(data, crop=(31, 33), augment=CHAINS[1]).open(labels, 4).stream
    for one, other in zip(batches(stream), batches(without_windows(stream)), strict=True):
        np.testing.assert_array_equal(one, other)


def windows_used(data: Data, labels: Labels) -> list[tuple[int, ...]]:
    """Returns the shapes of the loaded images of an epoch."""
    stream, shapes = data.open(labels, 1).stream, []
    load = stream.examples.load_window
    assert load is not None

    def spied(index: tf.Tensor, window: Window) -> Loaded:
        image, mask, problem = load(index, window)
        tf.py_function(lambda shape: shapes.append(tuple(shape.numpy())), [tf.shape(image)], [])
        return image, mask, problem

    batches(replace(stream, examples=replace(stream.examples, load_window=spied)))
    return shapes


@pytest.mark.parametrize("cache", [False, True])
def test_only_the_window_is_loaded(data: Data, labels: Labels, cache: bool) -> None:
    scaled = replace(data, crop=(8, 10), augment=(Scale(factors=(2.0,)),), cache=cache)
    assert set(windows_used(scaled, labels)) == {(4, 5, 3)}
    assert set(windows_used(replace(scaled, augment=(Flip(),)), labels)) == {(8, 10, 3)}


def test_whole_examples_are_loaded_if_an_op_may_need_them(data: Data, labels: Labels) -> None:
    assert windows_used(replace(data, crop=(8, 10), augment=(Rotate(), Scale())), labels) == []
    assert windows_used(replace(data, crop=None, augment=(Scale(),)), labels) == []


def test_boxes_and_synthetic_scenes_have_no_windows(data: Data, labels: Labels) -> None:
    boxed = replace(data, boxes=ObjectBoxes(min_pixels=1, size=16)).open(labels).training_examples
    assert boxed.load_window is None
    assert Data(source=Shapes(size=16)).open(labels).training_examples.load_window is None


def test_problems_outside_of_the_window_are_reported(
    data: Data, labels: Labels, folder: Path, write: Callable[..., Path]
) -> None:
    cropped = replace(data, crop=(1, 1), augment=(Scale(),))
    write(folder / "train" / "masks" / "2.png", np.eye(22, 27) * 0)
    message = f"{folder}/train/images/2.png: the image is 28x22, but its mask {folder}/train/masks/2.png is 27x22."
    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        batches(cropped.open(labels).stream)
    invalid = np.zeros((22, 28))
    invalid[21, 27] = 77
    write(folder / "train" / "masks" / "2.png", invalid)
    with pytest.raises(DataError, match=f"^{re.escape(str(folder))}/train/masks/2.png: the mask contains 77;"):
        batches(cropped.open(labels).stream)
