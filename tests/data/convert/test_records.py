"""Datasets of TensorFlow Datasets and Hugging Face: with modules that imitate them, and with the packages."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from tests.data.convert import scenes
from tfseg.data.convert import Keys, Options, convert
from tfseg.errors import DataError, RunError
from tfseg.pipeline import load


def records(*masks: Any) -> list[dict[str, Any]]:
    image = Image.new("RGB", (scenes.WIDTH, scenes.HEIGHT), "gray")
    return [{"image": image, "mask": mask} for mask in masks]


class Split(list[dict[str, Any]]):
    """A split of a dataset, with its features."""

    features: ClassVar[dict[str, Any]] = {"image": object(), "mask": SimpleNamespace(names=list(scenes.NAMES))}


def install(monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    """Imitates the package `datasets`, which returns or raises `found`."""

    def opened(name: str) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    module: Any = ModuleType("datasets")
    module.load_dataset = module.load_from_disk = opened
    monkeypatch.setitem(sys.modules, "datasets", module)


def masks(output: Path) -> list[np.ndarray]:
    found = []
    for file in sorted((output / "masks").rglob("*.png")):
        with Image.open(file) as mask:
            found.append(np.asarray(mask))
    return found


def test_splits_of_hugging_face(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    void = scenes.mask()
    void[0, 0] = 255
    color = Image.fromarray(scenes.mask()).convert("RGB")
    splits = {"train": Split(records(void, scenes.mask()[:, :, None])), "validation": Split(records(color))}
    install(monkeypatch, splits)
    report = convert("huggingface", "anyone/scenes", None, tmp_path / "out")
    assert all(
        np.array_equal(*pair) for pair in zip(masks(tmp_path / "out"), [void, *[scenes.mask()] * 2], strict=True)
    )
    pipeline = load(report.pipeline)
    assert pipeline.labels.names == scenes.NAMES
    data = pipeline.data.open(pipeline.labels)
    assert (data.names("train"), data.names("val")) == (("train/000000", "train/000001"), ("val/000000",))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["images", "masks", "pipeline.yaml", "splits"]
    with Image.open(tmp_path / "out" / "images" / "val" / "000000.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(records(None)[0]["image"]))


def test_names_and_splits_that_a_dataset_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    split = Split(records(*[scenes.mask()] * 5))
    split.features = {"photo": object(), "image": object(), "mask": object()}
    install(monkeypatch, split)
    report = convert("huggingface", "scenes", None, tmp_path / "out", Options(classes=("class_2", "class_0")))
    pipeline = load(report.pipeline)
    assert pipeline.labels.names == ("class_2", "class_0")
    assert pipeline.data.open(pipeline.labels).count("val") == 1
    split.features = {"image": object(), "mask": object()}
    convert("huggingface", "scenes", None, tmp_path / "out", Options(overwrite=True))
    assert np.array_equal(masks(tmp_path / "out")[0], scenes.mask())
    assert load(report.pipeline).labels.names == ("class_0", "class_1", "class_2")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            ValueError("no such\ndataset"),
            "scenes: cannot be opened (ValueError: no such). Expected the name or the folder",
        ),
        ({"train": Split(records(scenes.mask() + 3))}, "train[0]: expected class ids from 0 to 2, or 255; received 3"),
        (
            {"train": Split(records(scenes.mask()[:5]))},
            "train[0]: the image is (10, 12), its mask (5, 12) (height, width)",
        ),
        (
            {"train": Split(records(scenes.mask() * 1.0))},
            "train[0]: expected a mask of class ids, [height, width]; receiv",
        ),
        (
            {"train": Split(records(None))},
            "train[0]: expected a mask of class ids, [height, width]; received object []",
        ),
        (
            {"train": Split([{"image": np.zeros((2, 2, 4)), "mask": 0}])},
            "train[0]: expected an image of bytes with 1 or 3 channels; received float64",
        ),
    ],
)
def test_invalid_records(found: Any, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, found)
    with pytest.raises(DataError) as caught:
        convert("huggingface", "scenes", None, tmp_path / "out")
    assert expected in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_record_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Broken(Split):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            yield records(scenes.mask())[0]
            raise OSError("truncated")

    install(monkeypatch, {"train": Broken()})
    with pytest.raises(
        DataError, match=r"scenes: train\[1\]: cannot be read \(OSError: truncated\). Restore the dataset."
    ):
        convert("huggingface", "scenes", None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_features_of_other_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    split = Split([{"photo": each["image"], "truth": each["mask"]} for each in records(scenes.mask())])
    split.features = {"photo": object(), "truth": object()}
    install(monkeypatch, split)
    expected = "scenes: no feature image or img or pixel_values. Set --image-key to one of: photo, truth."
    with pytest.raises(DataError, match=expected):
        convert("huggingface", "scenes", None, tmp_path / "out")
    with pytest.raises(DataError, match=r"no feature mask. Set --mask-key to one of: photo, truth."):
        convert("huggingface", "scenes", None, tmp_path / "out", Options(keys=Keys("photo", "mask")))
    convert("huggingface", "scenes", None, tmp_path / "out", Options(keys=Keys("photo", "truth")))
    assert np.array_equal(masks(tmp_path / "out")[0], scenes.mask())


@pytest.mark.parametrize(("kind", "module"), [("tfds", "tensorflow_datasets"), ("huggingface", "datasets")])
def test_missing_packages(kind: str, module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RunError) as error:
        convert(kind, "scenes", None, tmp_path / "out")
    begin = f"--from {kind} needs the Python module {module}, which cannot be imported ("
    end = f"). Install the extra `{kind}`: pip install 'tfseg[{kind}]'"
    assert str(error.value).startswith(begin) and str(error.value).endswith(end)
    assert not (tmp_path / "out").exists()


@pytest.mark.extra
def test_a_dataset_of_hugging_face_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    # The fingerprint of a new dataset is a hash of its pickle, and not every version of dill pickles pyarrow's types.
    monkeypatch.setattr("datasets.arrow_dataset.generate_fingerprint", lambda *_: "0123456789abcdef")
    features = datasets.Features({"image": datasets.Image(), "annotation": datasets.Image()})
    image = np.full((10, 12, 3), 100, np.uint8)
    rows = {"image": [Image.fromarray(image)] * 3, "annotation": [Image.fromarray(scenes.mask())] * 3}
    train = datasets.Dataset.from_dict(rows, features=features)
    val = datasets.Dataset.from_dict({name: values[:1] for name, values in rows.items()}, features=features)
    datasets.DatasetDict(train=train, validation=val).save_to_disk(tmp_path / "set")
    report = convert("huggingface", str(tmp_path / "set"), None, tmp_path / "out")
    assert report.masks == 4
    assert all(np.array_equal(each, scenes.mask()) for each in masks(tmp_path / "out"))
    assert load(report.pipeline).data.open(load(report.pipeline).labels).count("val") == 1


@pytest.mark.extra
def test_a_dataset_of_tensorflow_datasets_on_disk(tmp_path: Path) -> None:
    tfds = pytest.importorskip("tensorflow_datasets")

    class Scenes(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            mask = tfds.features.LabeledImage(labels=list(scenes.NAMES), shape=(None, None, 1))
            image = tfds.features.Image(shape=(None, None, 3))
            features = tfds.features.FeaturesDict({"image": image, "segmentation_mask": mask})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager: Any) -> Any:
            return {"train": self._generate_examples(3), "validation": self._generate_examples(1)}

        def _generate_examples(self, count: int = 0) -> Any:
            for index in range(count):
                mask = scenes.mask()[:, :, None]
                yield index, {"image": np.full((10, 12, 3), 100, np.uint8), "segmentation_mask": mask}

    builder = Scenes(data_dir=tmp_path / "data")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(register_checksums=False))
    report = convert("tfds", str(builder.data_dir), None, tmp_path / "out")
    assert (report.masks, report.names) == (4, scenes.NAMES)
    assert all(np.array_equal(each, scenes.mask()) for each in masks(tmp_path / "out"))
