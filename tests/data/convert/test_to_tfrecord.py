"""Conversion to TFRecord files: the same examples in the same order, resuming, and errors."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfseg.data import CamVid, Data, Dataset, Flip, Folder, Ids, ObjectBoxes, Shapes, TfRecord, Voc
from tfseg.data.convert import to_tfrecord
from tfseg.data.convert.tfrecord import shards_of
from tfseg.data.records import positions, read_record
from tfseg.data.segmentation_record import FILENAME, IMAGE, IMAGE_FORMAT, MASK
from tfseg.errors import DataError, RunError
from tfseg.labels import PUBLISHED, Labels

Write = Callable[..., Path]
VOC = Labels(**PUBLISHED["voc"])
CAMVID = Labels(**PUBLISHED["camvid"])


def converted(data: Dataset, output: Path, **options: Any) -> Dataset:
    return to_tfrecord(data, output, **options).open(data.labels, data.seed)


def check_equal(data: Dataset, again: Dataset, splits: tuple[str, ...]) -> None:
    """Checks that all images and masks of two datasets are equal, and in the same order."""
    assert again.splits == tuple(sorted(splits))
    for split in splits:
        pairs = zip(*(each.evaluation(split).as_numpy_iterator() for each in (data, again)), strict=True)
        for (image, mask), (other, other_mask) in pairs:
            np.testing.assert_array_equal(image, other)
            np.testing.assert_array_equal(mask, other_mask)


def features(output: Path, name: str, number: int = 0) -> dict[str, Any]:
    """Returns the values of the features of a record."""
    data, problem = read_record(output / name, number)
    assert problem == ""
    found = tf.train.Example.FromString(data).features.feature
    return {key: (*value.bytes_list.value, *value.int64_list.value)[0] for key, value in found.items()}


def test_a_folder_with_a_mapping(tmp_path: Path, write: Write) -> None:
    """Files are kept only if they are JPEG or PNG, and gray masks of class ids."""
    rng, ids = np.random.default_rng(0), np.array([[7, 8, 200], [8, 7, 9]])
    names = ("a.jpg", "b.png", "c.bmp", "d.npy", "e.gif", "é f.jpg")
    for name in names:
        image = rng.integers(0, 256, (2, 3, 3), np.uint8)
        (tmp_path / "in/train/images").mkdir(parents=True, exist_ok=True)
        path = tmp_path / "in/train/images" / name
        np.save(path, image) if path.suffix == ".npy" else Image.fromarray(image).save(path)
        write(tmp_path / "in/train/masks" / f"{path.stem}.png", ids, palette=name == "b.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.fromarray(rng.integers(0, 256, (3, 2, 3), np.uint8)).save(tmp_path / "in/train/images/a.jpg", exif=exif)
    mapping = Ids(mapping={7: 0, 8: 1, 200: 255}, rest=1)
    data = Data(source=Folder(mask=mapping), root=tmp_path / "in").open(Labels(names=("a", "b")))
    check_equal(data, converted(data, tmp_path / "out", shards=2), ("train",))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("conversion.json", "train-00000-of-00002.tfrecord", "train-00001-of-00002.tfrecord"),
    ]
    first = features(tmp_path / "out", "train-00000-of-00002.tfrecord")
    assert first[IMAGE] == (tmp_path / "in/train/images/a.jpg").read_bytes()
    assert {key: value for key, value in first.items() if key not in (IMAGE, MASK)} == {
        "image/filename": b"a",
        "image/format": b"jpeg",
        "image/height": 2,
        "image/width": 3,
        "image/segmentation/class/format": b"png",
    }
    assert tf.io.decode_png(first[MASK])[:, :, 0].numpy().tolist() == [[0, 1, 255], [1, 0, 1]]
    last = features(tmp_path / "out", "train-00001-of-00002.tfrecord", 2)
    assert last[FILENAME].decode() == "é f"
    third = features(tmp_path / "out", "train-00000-of-00002.tfrecord", 2)
    assert third[IMAGE_FORMAT] == b"png" and third[IMAGE][1:4] == b"PNG"


@pytest.mark.slow
def test_gray_masks_of_class_ids_are_kept_and_others_are_not(folder: Path, labels: Labels, write: Write) -> None:
    """A palette mask means colors to other readers, so it becomes gray."""
    gray = write(folder / "train/masks/0.png", np.full((20, 30), 3))
    data = Data(source=Folder(), root=folder).open(labels)
    check_equal(data, converted(data, folder / "out"), ("train", "val"))
    name = "train-00000-of-00001.tfrecord"
    assert features(folder / "out", name)[MASK] == gray.read_bytes()
    palette = features(folder / "out", name, 1)[MASK]
    np.testing.assert_array_equal(tf.io.decode_png(palette)[:, :, 0], Image.open(folder / "train/masks/1.png"))


def test_shapes(tmp_path: Path, labels: Labels) -> None:
    """Training batches of the files are those of the dataset, augmentation included."""
    source = Shapes(size=16, train=5, val=2, test=1)
    data = Data(source=source, batch_size=2, augment=(Flip(),), crop=12).open(labels, seed=3)
    done: list[int] = []
    again = converted(data, tmp_path / "out", shards=2, advance=done.append)
    check_equal(data, again, ("train", "val", "test"))
    assert sum(done) == 8
    assert [len(positions(tmp_path / "out" / f"test-0000{number}-of-00002.tfrecord")[0]) for number in (0, 1)] == [0, 1]
    pairs = zip(data.training(epochs=2).as_numpy_iterator(), again.training(epochs=2).as_numpy_iterator(), strict=True)
    for (image, mask), (other, other_mask) in pairs:
        np.testing.assert_array_equal(image, other)
        np.testing.assert_array_equal(mask, other_mask)


@pytest.mark.slow
def test_many_classes_and_channels(tmp_path: Path) -> None:
    labels = Labels(names=tuple(map(str, range(300))), ignore=65535)
    (tmp_path / "in/train/images").mkdir(parents=True)
    (tmp_path / "in/train/masks").mkdir()
    np.save(tmp_path / "in/train/images/a.npy", np.arange(30, dtype=np.uint8).reshape(2, 3, 5))
    Image.fromarray(np.array([[0, 299, 65535], [256, 1, 2]], np.uint16)).save(tmp_path / "in/train/masks/a.png")
    data = Data(source=Folder(channels=5), root=tmp_path / "in").open(labels)
    check_equal(data, converted(data, tmp_path / "out"), ("train",))
    assert features(tmp_path / "out", "train-00000-of-00001.tfrecord")[IMAGE_FORMAT] == b"npy"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["camvid", "voc"])
def test_published_datasets(kind: str, shared: Path, tmp_path: Path) -> None:
    """A few real images of each, in lists."""
    root = shared / "data" / {"camvid": "camvid", "voc": "voc2012"}[kind]
    home, labels, names = tmp_path / "in", {"camvid": CAMVID, "voc": VOC}[kind], []
    home.mkdir()
    if kind == "camvid":
        for folder in ("val", "valannot"):
            (home / folder).mkdir()
            for path in sorted((root / folder).iterdir())[:3]:
                (home / folder / path.name).symlink_to(path)
        source: Any = CamVid()
    else:
        for folder in ("JPEGImages", "SegmentationClassAug"):
            (home / folder).symlink_to(root / folder)
        names = (root / "val.txt").read_text().split()[:3]
        (home / "val.txt").write_text("\n".join(names))
        source = Voc()
    data = Data(source=source, root=home).open(labels)
    check_equal(data, converted(data, tmp_path / "out"), ("val",))
    stored = features(tmp_path / "out", "val-00000-of-00001.tfrecord")
    assert stored[IMAGE] == Path(data.files("val")[0][0]).read_bytes()
    if kind == "voc":
        check_equal(data, converted(converted(data, tmp_path / "two", shards=2), tmp_path / "one"), ("val",))


def test_examples_are_divided_evenly() -> None:
    assert [(shard.start, shard.stop, shard.name) for shard in shards_of("val", 5, 3)] == [
        (0, 1, "val-00000-of-00003.tfrecord"),
        (1, 3, "val-00001-of-00003.tfrecord"),
        (3, 5, "val-00002-of-00003.tfrecord"),
    ]
    assert [shard.stop - shard.start for shard in shards_of("val", 2500)] == [833, 833, 834]


@pytest.fixture
def scenes(labels: Labels) -> Dataset:
    return Data(source=Shapes(size=16, train=4, val=2, test=2)).open(labels)


def times(output: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in output.glob("*.tfrecord")}


def test_complete_files_are_kept_when_resuming(tmp_path: Path, scenes: Dataset, labels: Labels) -> None:
    to_tfrecord(scenes, tmp_path / "out", shards=2, splits=["train", "val"])
    before = times(tmp_path / "out")
    os.truncate(tmp_path / "out/train-00001-of-00002.tfrecord", 50)
    (tmp_path / "out/val-00000-of-00002.tfrecord").unlink()
    done: list[int] = []
    options = {"shards": 2, "splits": ["train", "val"], "advance": done.append}
    check_equal(scenes, converted(scenes, tmp_path / "out", resume=True, **options), ("train", "val"))
    assert sum(done) == 6
    changed = {name for name, time in times(tmp_path / "out").items() if time != before[name]}
    assert changed == {"train-00001-of-00002.tfrecord", "val-00000-of-00002.tfrecord"}


def test_an_earlier_conversion_is_not_replaced_silently(tmp_path: Path, scenes: Dataset) -> None:
    output = tmp_path / "out"
    to_tfrecord(scenes, output, splits=["val"])
    with pytest.raises(RunError) as caught:
        to_tfrecord(scenes, output, splits=["val"])
    assert str(caught.value) == (
        f"{output}: contains an earlier conversion. Continue it with --resume, replace it with --overwrite, or choose "
        "another --output."
    )
    other = replace(scenes.spec, source=Shapes(size=16, train=4, val=2, test=2, seed=1)).open(scenes.labels)
    for data, options in ((other, {}), (scenes, {"shards": 2})):
        with pytest.raises(RunError) as caught:
            to_tfrecord(data, output, splits=["val"], resume=True, **options)
        assert str(caught.value) == (
            f"{output}: contains a conversion of other data, or with other options. Replace it with --overwrite, or "
            "choose another --output."
        )
    to_tfrecord(other, output, splits=["test"], shards=2, overwrite=True)
    assert set(times(output)) == {"test-00000-of-00002.tfrecord", "test-00001-of-00002.tfrecord"}


def test_a_changed_file_is_other_data(folder: Path, labels: Labels, write: Write) -> None:
    data = Data(source=Folder(), root=folder).open(labels)
    to_tfrecord(data, folder / "out")
    to_tfrecord(data, folder / "out", resume=True)
    write(folder / "train/masks/0.png", np.full((20, 30), 1))
    with pytest.raises(RunError, match="other data"):
        to_tfrecord(data, folder / "out", resume=True)


def test_other_files_and_links_are_never_touched(tmp_path: Path, scenes: Dataset) -> None:
    output, treasure = tmp_path / "out", tmp_path / "treasure"
    output.mkdir()
    treasure.write_text("gold")
    (output / "notes.txt").write_text("mine")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(RunError) as caught:
            to_tfrecord(scenes, output, **options)
        assert str(caught.value) == (
            f"{output}: is not empty and not a conversion: it contains notes.txt. Choose another --output."
        )
    files = ["../treasure", "link"]
    (output / "conversion.json").write_text(json.dumps({"files": files}))
    (output / "link").symlink_to(treasure)
    to_tfrecord(scenes, output, splits=["val"], overwrite=True)
    assert treasure.read_text() == "gold" and (output / "notes.txt").read_text() == "mine"
    assert not (output / "link").is_symlink()


@pytest.mark.parametrize("text", ["", "[]", '{"files": [3]}', "{"])
def test_an_invalid_state_is_not_a_conversion(text: str, tmp_path: Path, scenes: Dataset) -> None:
    (tmp_path / "conversion.json").write_text(text)
    with pytest.raises(RunError, match=r"is not empty and not a conversion: it contains conversion\.json"):
        to_tfrecord(scenes, tmp_path, overwrite=True)


def test_what_cannot_be_converted(tmp_path: Path, folder: Path, labels: Labels, scenes: Dataset) -> None:
    def refused(data: Data, output: Path = tmp_path / "out") -> str:
        with pytest.raises(DataError) as caught:
            to_tfrecord(data.open(labels), output)
        return str(caught.value)

    assert refused(Data(source=Folder(), root=folder), folder) == (
        f"{folder}: is `data.root`, the folder of the data. Choose another --output."
    )
    boxes = tmp_path / "boxes.csv"
    assert refused(replace(scenes.spec, boxes=ObjectBoxes(file=boxes, size=16))) == (
        f"data.boxes.file: {boxes} names images, but records are numbered. Convert whole images: add data.boxes=null "
        "to the command."
    )
    assert refused(replace(scenes.spec, source=Shapes(size=16, channels=5))) == (
        "data.source.channels: images of 5 channels cannot be stored as PNG. Expected 1 to 4."
    )
    (folder / "val/masks/1.png").write_bytes(b"broken")
    assert refused(Data(source=Folder(), root=folder)).startswith(f"{folder}/val/masks/1.png: the mask is not a PNG;")
    with pytest.raises(DataError, match='no split "vall"; expected one of: train, val, test; did you mean "val"'):
        to_tfrecord(scenes, tmp_path / "other", splits=["vall"])


def test_an_output_that_cannot_be_written(tmp_path: Path, scenes: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        RunError, match=r"file/conversion\.json: cannot be written \(.*\)\. Expected a file in a writable"
    ):
        to_tfrecord(scenes, tmp_path / "file")

    class Full:
        def __init__(self, path: bytes) -> None:
            self.error: type[tf.errors.OpError] = tf.errors.ResourceExhaustedError

        def write(self, record: bytes) -> None:
            raise self.error(None, None, "x; No space left on device")

        def close(self) -> None:
            pass

    class Failing(Full):
        def write(self, record: bytes) -> None:
            raise tf.errors.UnknownError(None, None, "x; Input/output error")

    monkeypatch.setattr(tf.io, "TFRecordWriter", Full)
    path = tmp_path / "out" / "train-00000-of-00001.tfrecord"
    with pytest.raises(OSError, match=re.escape(f"No space left on device: '{path}'")):
        to_tfrecord(scenes, tmp_path / "out")
    monkeypatch.setattr(tf.io, "TFRecordWriter", Failing)
    with pytest.raises(RunError) as caught:
        to_tfrecord(scenes, tmp_path / "out", resume=True)
    assert str(caught.value) == f"{path}: cannot be written (x; Input/output error). Expected a writable folder."
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["conversion.json"]


KILLED = """
import os, signal, sys
from tfseg.data import Data, Shapes
from tfseg.data.convert import to_tfrecord
from tfseg.labels import Labels

done = []
def advance(count):
    done.append(count)
    if len(done) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

data = Data(source=Shapes(size=16, train=4, val=2, test=2)).open(Labels(names=("ground", "disc", "square", "ring")))
to_tfrecord(data, sys.argv[1], shards=2, advance=advance)
"""


@pytest.mark.slow
def test_a_killed_conversion_leaves_no_incomplete_file(tmp_path: Path, scenes: Dataset) -> None:
    """Killed in the second file; a temporary file is left, which is not read, and is deleted later."""
    outcome = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")], check=False)
    assert outcome.returncode == -signal.SIGKILL
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left[1:] == ["conversion.json", "train-00000-of-00002.tfrecord"] and left[0].startswith(".train-00001-of-")
    with pytest.raises(DataError, match="the split `train` lacks 1 of its 2 shards: 1"):
        Data(source=TfRecord(), root=tmp_path / "out").open(scenes.labels).names("train")
    again = converted(scenes, tmp_path / "out", shards=2, resume=True)
    check_equal(scenes, again, ("train", "val", "test"))
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
