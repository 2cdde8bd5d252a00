"""Error messages name the invalid file."""

import re
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.data import Data, Dataset, Flip, Folder, explain, explained
from tfseg.data.reading import survey
from tfseg.errors import DataError
from tfseg.labels import Labels

Write = Callable[..., Path]


def error_message(data: Data | Dataset, labels: Labels) -> str:
    """Returns the error message of training, in the first two epochs."""
    opened = data.open(labels) if isinstance(data, Data) else data
    with pytest.raises(DataError) as caught, explained():
        list(opened.training(epochs=2))
    return str(caught.value)


def undecodable(path: Path) -> str:
    formats = {
        "images": "JPEG, PNG, GIF, BMP or .npy (uint8; with `data.value_range` also int16, uint16, int32, float16, "
        "float32, float64)",
        "masks": "a complete PNG, the format of masks",
    }
    return (
        f"{path}: cannot be decoded ({path.stat().st_size} bytes). Expected {formats[path.parent.name]}. "
        "Restore the file, or remove the example."
    )


@pytest.mark.parametrize(("part", "number"), [("images", 0), ("images", 2), ("masks", 3), ("masks", 4)])
def test_corrupt_file(folder: Path, data: Data, labels: Labels, part: str, number: int) -> None:
    """At any position, including the first and the last."""
    path = folder / "train" / part / f"{number}.png"
    path.write_bytes(path.read_bytes()[:60])
    assert error_message(data, labels) == undecodable(path)


def test_empty_file(folder: Path, data: Data, labels: Labels) -> None:
    path = folder / "train" / "images" / "1.png"
    path.write_bytes(b"")
    assert error_message(data, labels) == undecodable(path)


def test_deleted_file(folder: Path, data: Data, labels: Labels) -> None:
    opened = data.open(labels)
    opened.files("train")
    path = folder / "train" / "masks" / "2.png"
    path.unlink()
    assert error_message(opened, labels) == (
        f"{path}: cannot be read: No such file or directory. Restore the file, or remove the example."
    )


def test_restored_file(folder: Path, data: Data, labels: Labels) -> None:
    opened = data.open(labels)
    opened.files("train")
    path = folder / "train" / "masks" / "2.png"
    content = path.read_bytes()
    path.unlink()
    try:
        list(opened.training(epochs=1))
    except tf.errors.OpError as error:
        path.write_bytes(content)
        image = folder / "train" / "images" / "2.png"
        assert str(explain(error)) == f"{image} or {path}: could not be read at first, but is readable now. Run again."


def test_label_out_of_range(folder: Path, data: Data, labels: Labels, write: Write) -> None:
    path = write(folder / "train" / "masks" / "4.png", np.full((24, 26), 9), palette=True)
    assert error_message(data, labels) == (
        f"{path}: the mask contains 9; expected a class (0 to 3) or 255 (ignore). "
        "Correct the mask or `labels`, or remap the ids with `data.source.mask`."
    )


def test_different_sizes(folder: Path, labels: Labels, write: Write) -> None:
    mask = write(folder / "train" / "masks" / "0.png", np.zeros((30, 20)), palette=True)
    data = Data(source=Folder(), root=folder, batch_size=2, crop=8, augment=(Flip(),))
    image = folder / "train" / "images" / "0.png"
    assert error_message(data, labels) == (
        f"{image}: the image is 30x20, but its mask {mask} is 20x30. "
        "Expected the same size. Correct either, or remove the example."
    )


def test_wrong_number_of_channels(folder: Path, labels: Labels) -> None:
    data = Data(source=Folder(channels=5), root=folder, batch_size=5)
    text = error_message(data, labels)
    assert re.fullmatch(
        re.escape(f"{folder}/train/images/") + r"\d\.png" + re.escape(": the image has 3 channels. Expected 5: ")
        + re.escape("correct `data.source.channels`, or the file."), text,
    )  # fmt: skip


def test_special_characters_in_names(tmp_path: Path, labels: Labels, write: Write) -> None:
    name = "Straße 日本 'a' \"b\" \\c [1]\t<d>"
    write(tmp_path / "train" / "images" / f"{name}.png", np.zeros((4, 4, 3)))
    mask = write(tmp_path / "train" / "masks" / f"{name}.png", np.full((4, 4), 7), palette=True)
    data = Data(source=Folder(), root=tmp_path, batch_size=1)
    assert error_message(data, labels).startswith(f"{mask}: the mask contains 7; ")
    mask.write_bytes(b"nothing")
    assert error_message(data, labels).startswith(f"{mask}: the mask is not a PNG; ")
    mask.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert error_message(data, labels) == undecodable(mask)


def test_errors_in_model_fit(folder: Path, data: Data, labels: Labels) -> None:
    path = folder / "train" / "images" / "3.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(4, 1)(keras.layers.Rescaling(1 / 255)(image)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255))
    with pytest.raises(tf.errors.OpError) as caught:
        model.fit(data.open(labels).training(epochs=1), epochs=1, steps_per_epoch=3, shuffle=False, verbose=0)
    assert str(explain(caught.value)) == undecodable(path)


def test_errors_in_evaluation_counting_and_cache(folder: Path, data: Data, labels: Labels) -> None:
    path = folder / "val" / "masks" / "2.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=re.escape(str(path))), explained():
        list(data.open(labels).evaluation("val"))
    with pytest.raises(DataError, match=re.escape(str(path))):
        data.open(labels).pixel_counts("val")
    cached = Data(source=Folder(), root=folder, batch_size=2, cache=True, train_split="val")
    with pytest.raises(DataError, match=re.escape(str(path))):
        cached.open(labels).training(epochs=1)


def test_other_errors_pass_unchanged() -> None:
    assert explain(ValueError("no data")) is None
    with pytest.raises(tf.errors.InvalidArgumentError), explained():
        tf.io.decode_png(b"nothing")


def test_survey_continues_after_problems() -> None:
    """Lost elements at both ends and in succession, and an expected problem, whose tensors are kept."""

    def load(position: tf.Tensor) -> tuple[tuple[tf.Tensor], tf.Tensor]:
        lost = tf.reduce_any(tf.equal(position, [0, 3, 4, 6]))
        with tf.control_dependencies([tf.debugging.Assert(tf.logical_not(lost), ["lost"])]):
            return (tf.identity(position),), tf.where(tf.equal(position, 2), "two", "")

    results = list(survey(7, load, lambda position: tf.strings.join(["no/", tf.strings.as_string(position)])))
    lost = "no/{}: cannot be read: No such file or directory. Restore the file, or remove the example."
    assert [problem for _, problem in results] == [
        lost.format(0), "", "two", lost.format(3), lost.format(4), "", lost.format(6)
    ]  # fmt: skip
    assert [None if tensors is None else int(tensors[0]) for tensors, _ in results] == [
        None,
        1,
        2,
        None,
        None,
        5,
        None,
    ]
