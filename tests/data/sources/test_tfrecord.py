"""TFRecord files as a source: splits, order, encodings, and errors that name the file and the record."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.data.findings import messages
from tfseg.data import Colors, Data, Dataset, Ids, TfRecord, explained
from tfseg.data.reading import arrays
from tfseg.data.segmentation_record import HEIGHT, IMAGE, MASK, WIDTH, serialized
from tfseg.data.sources.shards import shards
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.spec import SpecError


def png(values: np.ndarray) -> bytes:
    return bytes(tf.io.encode_png(values).numpy())


def content(number: int) -> tuple[bytes, bytes]:
    """Returns image and mask of an example; sizes differ."""
    rng = np.random.default_rng(number)
    size = (4 + number % 3, 6)
    return png(rng.integers(0, 256, (*size, 3), np.uint8)), png(rng.integers(0, 4, (*size, 1), np.uint8))


def example(number: int, **changes: Any) -> bytes:
    """Serializes an example as other programs do, with `changes` of features; None removes one."""
    image, mask = content(number)
    features = {IMAGE: image, MASK: mask, HEIGHT: 4 + number % 3, WIDTH: 6, **changes}

    def feature(value: Any) -> tf.train.Feature:
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    given = {name: feature(value) for name, value in features.items() if value is not None}
    return bytes(tf.train.Example(features=tf.train.Features(feature=given)).SerializeToString())


def write(path: Path, records: Sequence[bytes], compression: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for each in records:
            writer.write(each)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five training examples in two files and an empty third, and two for validation."""
    for number, numbers in enumerate(((0, 1, 2), (), (3, 4))):
        write(tmp_path / f"train-0000{number}-of-00003.tfrecord", list(map(example, numbers)))
    write(tmp_path / "val-00000-of-00001.tfrecord", [example(8), example(9)])
    return tmp_path


def opened(root: Path, labels: Labels, **fields: Any) -> Dataset:
    return Data(source=TfRecord(**fields), root=root, batch_size=2).open(labels)


def test_examples_are_loaded_by_index(root: Path, labels: Labels) -> None:
    data = opened(root, labels)
    assert data.splits == ("train", "val")
    names = [f"train-0000{file}-of-00003-00000{number}" for file, number in ((0, 0), (0, 1), (0, 2), (2, 0), (2, 1))]
    assert list(data.names("train")) == names
    examples = data.examples("train")
    for index in (4, 0, 3):
        image, mask, problem = examples.load(tf.constant(index, tf.int64))
        expected = [tf.io.decode_png(each).numpy() for each in content(index)]
        np.testing.assert_array_equal(image, expected[0])
        np.testing.assert_array_equal(mask, expected[1][:, :, 0])
        np.testing.assert_array_equal(mask, examples.mask(tf.constant(index, tf.int64))[0])
        assert problem.numpy() == b""
        assert [part.numpy() for part in examples.content(tf.constant(index, tf.int64))] == list(content(index))
    assert messages(data) == ()


def test_splits_by_the_numbers_of_the_shards(tmp_path: Path) -> None:
    names = ("train-00000-of-00002", "train-00001-of-00002", "train-extra-00000-of-00001", "val-part1", "val-part2")
    for name in (*names, ".train-00000-of-00002-abcd"):
        write(tmp_path / f"{name}.tfrecord", [])
    (tmp_path / "test-0.tfrecord").mkdir()
    found = shards(tmp_path, TfRecord().pattern)
    assert {split: [file.stem for file in files] for split, files in found.items()} == {
        "train": list(names[:2]), "train-extra": [names[2]], "val": list(names[3:]),
    }  # fmt: skip
    write(tmp_path / "more" / "street[1]" / "coco-train.tfrecord-00000-of-00001", [])
    assert list(shards(tmp_path, "more/street[1]/coco-{split}.tfrecord-*")) == ["train"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("train-00001-of-00003", "train-00002-of-00003"),
            "the split `train` lacks 1 of its 3 shards: 0 (numbered from 0). Restore the files, or finish writing "
            "them.",
        ),
        (("val-00007-of-00009",), "the split `val` lacks 8 of its 9 shards: 0, 1, 2, ... (numbered from 0)."),
        (
            ("val-00000-of-00001", "val-00000-of-00002"),
            "the split `val` has files of two numberings, of 1 and of 2 shards. Remove those of one, or tell them "
            "apart by `data.source.pattern`.",
        ),
        (
            (),
            "contains no TFRecord file that matches `{split}-*.tfrecord*`. Correct `data.source.pattern` or "
            "`data.root`.",
        ),
    ],
)
def test_incomplete_splits(names: Sequence[str], message: str, tmp_path: Path, labels: Labels) -> None:
    for name in names:
        write(tmp_path / f"{name}.tfrecord", [example(0)])
    with pytest.raises(DataError, match=f"^{re.escape(f'{tmp_path}: {message}')}"):
        _ = opened(tmp_path, labels).splits


def test_an_empty_split(tmp_path: Path, labels: Labels) -> None:
    write(tmp_path / "train-00000-of-00001.tfrecord", [])
    message = (
        f"{tmp_path}: the split `train` is empty: its 1 files have no record. Expected records in "
        "`train-*.tfrecord*`. Write the files again."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        opened(tmp_path, labels).names("train")
    with pytest.raises(DataError, match=r"no such folder\. Correct `data\.root`, or put the data there\."):
        _ = opened(tmp_path / "no", labels).splits


def test_the_pattern_has_one_split() -> None:
    with pytest.raises(SpecError, match=r"expected \{split\} once in the pattern; received 'a\*'"):
        TfRecord(pattern="a*")


def test_encodings_of_masks(tmp_path: Path, labels: Labels) -> None:
    ids = np.array([[0, 1, 2], [3, 255, 0]], np.uint8)
    colors = labels.palette[ids]
    image = png(np.zeros((2, 3, 1), np.uint8))
    for name, mask in (("a", png(ids[:, :, None] + np.uint8(7))), ("b", png(colors))):
        write(tmp_path / f"{name}-0.tfrecord", [example(0, **{IMAGE: image, MASK: mask, HEIGHT: 2, WIDTH: 3})])
    shifted = Ids(mapping={(raw + 7) % 256: raw for raw in (0, 1, 2, 3, 255)})
    for split, mask in (("a", shifted), ("b", Colors())):
        data = opened(tmp_path, labels, mask=mask, channels=1)
        ((found, mask_found),) = data.evaluation(split).as_numpy_iterator()
        assert found.shape == (1, 2, 3, 1)
        np.testing.assert_array_equal(mask_found[0], ids)


@pytest.mark.slow
def test_height_and_width_are_optional(tmp_path: Path, labels: Labels) -> None:
    write(tmp_path / "train-0.tfrecord", [example(0, **{HEIGHT: None, WIDTH: None}), example(1, **{HEIGHT: 0})])
    assert len(list(opened(tmp_path, labels).evaluation("train"))) == 2


def image_and_mask_of_different_sizes() -> bytes:
    return example(0, **{MASK: content(1)[1]})


INVALID = [
    (
        example(0, **{HEIGHT: 6, WIDTH: 4}),
        "the image is 6x4, but image/width and image/height are 4x6. Expected the same size. Write the record again.",
    ),
    (
        image_and_mask_of_different_sizes(),
        "the image is 6x4, but its mask image/segmentation/class/encoded is 6x5. Expected the same size.",
    ),
    (
        example(0, **{IMAGE: None}),
        "the feature image/encoded has no values. Expected one.",
    ),
    (serialized(b"", b"", (1, 1), ("", ""), "")[:-3], "is not a tf.train.Example."),
    (tf.train.Example().SerializeToString(), "the feature image/encoded has no values. Expected one."),
    (
        example(0, **{MASK: 3}),
        "the feature image/segmentation/class/encoded has another type. Expected string.",
    ),
    (example(0, **{HEIGHT: b"4"}), "the feature image/height has another type. Expected int64."),
    (
        example(0, **{IMAGE: content(0)[0][:50]}),
        "image/encoded cannot be decoded (50 bytes). Expected JPEG, PNG, GIF, BMP or .npy (uint8; "
        "with `data.value_range` also int16, uint16, int32, float16, float32, float64).",
    ),
    (example(0, **{IMAGE: b"RIFF....WEBP"}), "the image is a WebP file. Expected PNG, JPEG, BMP, GIF or .npy"),
    (
        example(0, **{MASK: content(0)[1][:50]}),
        "image/segmentation/class/encoded cannot be decoded (50 bytes). Expected a complete PNG, the format of masks.",
    ),
    (example(0, **{MASK: b"\1\0\0\0"}), "the mask is not a PNG; other formats lose or shift ids. Save it as PNG."),
    (
        example(0, **{MASK: png(np.full((4, 6, 1), 9, np.uint8))}),
        "the mask contains 9; expected a class (0 to 3) or",
    ),
]
"""Invalid records, with the beginning of their messages."""


def test_invalid_records(tmp_path: Path, labels: Labels) -> None:
    file = write(tmp_path / "train-00000-of-00001.tfrecord", [example(1), *(record for record, _ in INVALID)])
    write(tmp_path / "val-0.tfrecord", [example(2)])
    found = [each for each in messages(opened(tmp_path, labels)) if each.startswith(str(file))]
    expected = [f"{file}: record {number}: {message}" for number, (_, message) in enumerate(INVALID, 1)]
    assert [each[: len(text)] for each, text in zip(found, expected, strict=True)] == expected


def test_an_invalid_record_in_training(tmp_path: Path, labels: Labels) -> None:
    file = write(tmp_path / "train-00000-of-00001.tfrecord", [example(1), INVALID[0][0]])
    with pytest.raises(DataError, match=f"^{re.escape(str(file))}: record 1: the image is 6x4"), explained():
        list(opened(tmp_path, labels).training(epochs=1))


def damage(file: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(file.read_bytes())
    change(data)
    file.write_bytes(data)


@pytest.mark.slow
def test_a_file_that_changes_after_it_is_opened(root: Path, labels: Labels) -> None:
    file = root / "train-00002-of-00003.tfrecord"
    data = opened(root, labels)
    assert data.count("train") == 5
    damage(file, lambda content: content.__setitem__(60, content[60] ^ 1))
    with pytest.raises(DataError) as caught, explained():
        list(data.evaluation("train"))
    assert str(caught.value) == (
        f"{file}: record 0: the checksum of its data is wrong. Restore the file, or remove the example."
    )
    file.unlink()
    with pytest.raises(DataError, match=r"record 0: is not a regular file, or a broken symbolic link\."), explained():
        list(data.evaluation("train"))


def test_files_are_checked_when_they_are_opened(root: Path, labels: Labels) -> None:
    file = root / "train-00002-of-00003.tfrecord"
    damage(file, lambda content: content.__delitem__(slice(-5, None)))
    with pytest.raises(DataError, match=r"is cut off in record 1: .* Restore the file, or write it again\.$"):
        opened(root, labels).names("train")
    write(file, [example(3)], "GZIP")
    with pytest.raises(DataError, match=r"GZIP\. .* Write it without compression\. Restore"):
        opened(root, labels).names("train")


def test_records_that_are_left_out_do_not_shift_the_others(root: Path) -> None:
    """Content, names and the numbers in messages are those of the file."""
    whole = Data(source=TfRecord(), root=root).open(Labels(names=("a", "b", "c", "d")))
    names = whole.names("train")
    left = Data(source=TfRecord(), root=root).open(
        Labels(names=("a", "b", "c", "d")), skipped={"train": {names[0], names[3]}}
    )
    assert left.names("train") == (names[1], names[2], names[4])
    for index, number in enumerate((1, 2, 4)):
        image, mask, problem = left.examples("train").load(tf.constant(index, tf.int64))
        expected = whole.examples("train").load(tf.constant(number, tf.int64))
        assert problem == b""
        np.testing.assert_array_equal(image, expected[0])
        np.testing.assert_array_equal(mask, expected[1])
    write(root / "train-00002-of-00003.tfrecord", [example(3), example(4, **{MASK: b"x"})])
    changed = Data(source=TfRecord(), root=root).open(Labels(names=("a", "b", "c", "d")), skipped={"train": {names[3]}})
    with pytest.raises(DataError, match=r"train-00002-of-00003\.tfrecord: record 1: "):
        list(arrays(changed.training(epochs=1)))
