"""Datasets of images of more than 8 bits: `data.value_range`."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfseg.data import ColorJitter, Data, Flip, Folder, Scale, Shapes, TfRecord, Voc
from tfseg.data.augment import cropped, padding_value, with_fill, without
from tfseg.data.convert import to_tfrecord
from tfseg.data.doctor import examine
from tfseg.data.pair_checks import PairCheck
from tfseg.data.passed import open_part
from tfseg.data.reading import arrays
from tfseg.data.records import read_record
from tfseg.data.segmentation_record import record_problem, serialized
from tfseg.data.show import contact_sheet
from tfseg.data.skipping import invalid_examples
from tfseg.data.statistics import statistics
from tfseg.errors import DataError
from tfseg.images import ImageValues
from tfseg.labels import Labels
from tfseg.spec.problems import SpecError

LABELS = Labels(names=("ground", "disc"))
DTYPES = (np.uint16, np.int16, np.uint8, np.int32, np.float16, np.float32, np.float64)
RANGE = (-50.0, 70.0)
EIGHT = "has images of 8 bits; expected null, or the source folder or tfrecord"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 7 channels and of all dtypes, as `.npy`, in C or Fortran order."""
    folder, rng = tmp_path_factory.mktemp("deep"), np.random.default_rng(0)
    for split in ("train", "val"):
        for number, dtype in enumerate(DTYPES):
            values = (rng.normal(size=(9 + number, 13, 7)) * 60).astype(np.float16)
            order = "F" if number % 2 else "C"
            image = np.asarray(np.abs(values) if np.dtype(dtype).kind == "u" else values, dtype, order=order)
            write(folder / split, f"é {number}", image)
    return folder


def write(folder: Path, name: str, image: np.ndarray) -> None:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    np.save(folder / "images" / f"{name}.npy", image)
    ids = np.random.default_rng(len(image)).integers(0, 2, image.shape[:2], np.uint8)
    Image.fromarray(ids).save(folder / "masks" / f"{name}.png")


def deep(root: Path, **fields: Any) -> Data:
    return Data(**{"source": Folder(channels=7), "root": root, "value_range": RANGE, "batch_size": 3, **fields})


def expected(root: Path, split: str, number: int) -> np.ndarray:
    """Maps an image in float64."""
    image = np.load(root / split / "images" / f"é {number}.npy").astype(np.float64)
    return np.clip((image + 50) * 255 / 120, 0, 255)


def test_images_are_mapped(root: Path) -> None:
    data = deep(root).open(LABELS)
    native = list(data.native("val").as_numpy_iterator())
    for number, (image, _) in enumerate(data.evaluation("val").as_numpy_iterator()):
        assert (image.dtype, image.min() >= 0, image.max() <= 255) == (np.float32, True, True)
        np.testing.assert_allclose(image[0], expected(root, "val", number), atol=3e-5)
        np.testing.assert_array_equal(native[number][0][0], np.load(root / f"val/images/é {number}.npy"))
    assert data.values == ImageValues("uint16", RANGE)
    assert Data(source=Shapes(size=16)).open(LABELS).values == ImageValues()


def test_training_batches_have_exact_values_and_fill(root: Path) -> None:
    """Padding per channel does not change the values, as sums of floats would."""
    fill = (1, 2, 3, 4, 5, 6, 7)
    data = deep(root, fill=fill, crop=(10, 30)).open(LABELS)
    images, masks = data.training_batch(0, 0)
    assert (images.shape, images.dtype, masks.shape) == ((3, 10, 30, 7), np.float32, (3, 10, 30))
    for name, image in zip(data.batch_names(0, 0), images, strict=True):
        whole = ImageValues("float32", RANGE).array(np.load(root / f"train/images/{name}.npy"))
        rows = min(len(whole), 10)
        windows = [whole[top : top + rows] for top in range(len(whole) - rows + 1)]
        assert any(np.array_equal(window, image[:rows, :13]) for window in windows)
        assert (image[:, 13:] == fill).all() and (image[rows:] == fill).all()
    padded, _ = deep(root, fill=fill, batch_size=7).open(LABELS).training_batch(0, 0)
    assert padded.shape == (7, 15, 13, 7)
    assert sum((image[9:] == fill).all() for image in padded) == 1


def test_padding_of_floats_and_of_bytes_is_the_same() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    results = [
        cropped(tf.cast(image, dtype), tf.zeros([4, 5], tf.int32), tf.constant([1, 2]), (6, 4), 255, (9, 8, 7))[0]
        for dtype in (tf.uint8, tf.float32)
    ]
    np.testing.assert_array_equal(*results)
    for dtype in (tf.uint8, tf.float32):
        values = tf.concat([without(tf.cast(image, dtype), (9,)), tf.fill([1, 5, 3], padding_value(dtype))], 0)
        assert (with_fill(values, (9,)).numpy()[4] == 9).all()


def test_cache_windows_and_augmentation(root: Path) -> None:
    """The cache, and the windows that `scale` loads, do not change the values."""
    augment = (Scale(min=0.5, max=1.5), Flip(), ColorJitter(saturation=0, hue=0))
    spec = deep(root, crop=(8, 8), augment=augment)
    batch, _ = spec.open(LABELS, seed=3).training_batch(1, 0)
    cached, _ = replace(spec, cache=True).open(LABELS, seed=3).training_batch(1, 0)
    np.testing.assert_array_equal(batch, cached)
    assert batch.dtype == np.float32 and 0 <= batch.min() < batch.max() <= 255


def test_statistics_check_and_contact_sheet(root: Path, tmp_path: Path) -> None:
    data = deep(root, validation_split="train").open(LABELS)
    found = statistics(data)["train"]
    pixels = np.concatenate([expected(root, "train", number).reshape(-1, 7) for number in range(7)]) / 255
    np.testing.assert_allclose(found["mean"], pixels.mean(0), atol=1e-4)
    np.testing.assert_allclose(found["std"], pixels.std(0), atol=1e-4)
    assert not examine(data).errors
    assert contact_sheet(data, count=2).dtype == np.uint8


def test_conversion_to_records_keeps_the_values(root: Path, tmp_path: Path) -> None:
    data = deep(root).open(LABELS)
    spec = to_tfrecord(data, tmp_path / "out", splits=["train"])
    assert (spec.source, spec.value_range) == (TfRecord(channels=7), RANGE)
    again = spec.open(LABELS)
    pairs = zip(*(each.evaluation("train").as_numpy_iterator() for each in (data, again)), strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert again.values == data.values
    record, _ = read_record(tmp_path / "out/train-00000-of-00001.tfrecord", 1)
    features = tf.train.Example.FromString(record).features.feature
    image = np.load(root / "train/images/é 1.npy")
    assert features["image/format"].bytes_list.value[0] == b"raw"
    assert features["image/dtype"].bytes_list.value[0] == b"int16"
    assert features["image/channels"].int64_list.value[0] == 7
    stored = np.frombuffer(features["image/encoded"].bytes_list.value[0], np.int16)
    np.testing.assert_array_equal(stored.reshape(image.shape), image)


def test_conversion_keeps_png_and_encodes_other_formats(tmp_path: Path) -> None:
    deep_png = tf.io.encode_png(np.arange(12, dtype=np.uint16).reshape(2, 2, 3) * 5000).numpy()
    for name in ("a", "b"):
        write(tmp_path / "in/train", name, np.zeros((2, 2, 3), np.uint8))
        (tmp_path / f"in/train/images/{name}.npy").unlink()
    (tmp_path / "in/train/images/a.png").write_bytes(deep_png)
    Image.fromarray(np.full((2, 2, 3), 200, np.uint8)).save(tmp_path / "in/train/images/b.bmp")
    data = Data(source=Folder(), root=tmp_path / "in", value_range=(0, 51000)).open(LABELS)
    again = to_tfrecord(data, tmp_path / "out").open(LABELS)
    record, _ = read_record(tmp_path / "out/train-00000-of-00001.tfrecord", 0)
    assert deep_png in record
    (first, _), (second, _) = again.evaluation("train").as_numpy_iterator()
    assert first.ravel().tolist() == [25 * number for number in range(11)] + [255]
    assert set(second.ravel().tolist()) == {1}


def test_invalid_raw_records(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((2, 3, 1), np.uint16))
    png = tf.io.encode_png(np.zeros((2, 3, 1), np.uint8)).numpy()
    good = serialized(file.getvalue(), png, (2, 3), ("npy", "png"), "a", raw=True)
    short = serialized(file.getvalue(), png, (2, 4), ("npy", "png"), "a", raw=True)
    other = good.replace(b"uint16", b"uint99")
    surplus = serialized(file.getvalue(), png, (2, 2), ("npy", "png"), "a", raw=True)
    empty = serialized(file.getvalue(), png, (0, 3), ("npy", "png"), "a", raw=True)
    for number, records in enumerate(([good], [short, surplus, empty], [other])):
        with tf.io.TFRecordWriter(str(tmp_path / f"{number}-0.tfrecord")) as writer:
            for record in records:
                writer.write(record)
    data = Data(source=TfRecord(channels=1), root=tmp_path, value_range=(0, 1), train_split="0", validation_split="1")
    opened = data.open(LABELS)
    assert len(list(opened.evaluation("0"))) == 1
    assert record_problem(tmp_path / "0-0.tfrecord", 0) == ""
    raw = "image/encoded is raw and has 12 bytes, and image/height, image/width and image/channels are"
    problems = (
        f"{raw} 2, 4 and 1 (uint16). Expected 16, the bytes of such an image.",
        f"{raw} 2, 2 and 1 (uint16). Expected 8, the bytes of such an image.",
        f"{raw} 0, 3 and 1 (uint16). Expected positive sizes.",
    )
    advice = "Restore the file, or remove the example."
    expected = [f"{tmp_path}/1-0.tfrecord: record {index}: {text} {advice}" for index, text in enumerate(problems)]
    assert list(invalid_examples(opened, "1", lambda: None).values()) == expected
    with pytest.raises(DataError) as error:
        list(arrays(opened.evaluation("1")))
    assert str(error.value) == expected[0]
    assert record_problem(tmp_path / "2-0.tfrecord", 0) == (
        "image/dtype of a raw image is 'uint99'. Expected one of uint8, int16, uint16, int32, float16, float32, "
        "float64."
    )
    _, _, problem = opened.examples("2").load(tf.constant(0, tf.int64))
    assert "the image is a .npy array of type uint99. Expected |u1" in problem.numpy().decode()


def test_problems_name_the_file(tmp_path: Path) -> None:
    write(tmp_path / "train", "a", np.full((2, 3, 7), np.nan, np.float32))
    ranged, without_range = deep(tmp_path).open(LABELS), deep(tmp_path, value_range=None).open(LABELS)
    for read, words in (
        (lambda: ranged.training_batch(0, 0), "not a number (NaN)"),
        (lambda: ranged.values, "not a number (NaN)"),
        (lambda: without_range.training_batch(0, 0), "of type <f4. Expected |u1 (uint8): set `data.value_range`"),
    ):
        with pytest.raises(DataError) as error:
            read()
        assert str(error.value).startswith(f"{tmp_path}/train/images/a.npy: ") and words in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": Folder(), "value_range": (5.0, 5.0)}, "expected two increasing numbers; received 5 and 5"),
        (
            {"source": Folder(), "value_range": (0.0, 1e-40)},
            "expected numbers of up to 1e+30 that differ by at least 1e-30, for float32; received 0 and 1e-40",
        ),
        ({"value_range": (0.0, 1.0)}, f"the source shapes {EIGHT}"),
        ({"source": Voc(), "value_range": (0.0, 1.0)}, f"the source voc {EIGHT}"),
    ],
)
def test_invalid_ranges(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        Data(**fields)
    assert f"value_range: {message}" in str(error.value)


def test_data_from_python_have_no_range(root: Path) -> None:
    pair = np.zeros((1, 8, 8, 7), np.uint16), np.zeros((1, 8, 8), np.uint8)
    with pytest.raises(DataError) as error:
        open_part(pair, PairCheck("training", 7, LABELS), deep(root), "train")
    assert str(error.value) == (
        "training: data from Python have values from 0 to 255, so data.value_range is not supported. Map the images "
        'yourself, and set it to null: tfseg.load(FILE, ["data.value_range=null"]).'
    )
