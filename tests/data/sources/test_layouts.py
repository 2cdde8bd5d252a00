"""Published datasets in their layouts of folders: splits, pairs and the mapping of raw ids to classes."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfseg.data import Ade20k, CamVid, Cityscapes, CocoStuff, Data, Mapillary
from tfseg.data.examples import Source
from tfseg.errors import DataError
from tfseg.labels import PUBLISHED, Labels
from tfseg.pipeline import load
from tfseg.spec import SpecError

Write = Callable[..., Path]


def labels_of(count: int, ignore: int = 255) -> Labels:
    return Labels(names=tuple(map(str, range(count))), ignore=ignore)


def ids(source: Source, root: Path, labels: Labels, split: str = "val") -> np.ndarray:
    """Returns the mask of the first example of a split."""
    ((_, mask),) = Data(source=source, root=root).open(labels).evaluation(split).take(1).as_numpy_iterator()
    return mask[0]


def row(write: Write, path: Path, *raw: int) -> None:
    """Writes a mask of one row of raw ids, and checks that its name is new."""
    assert not path.exists()
    write(path, np.array([raw]))


def image(write: Write, path: Path, width: int) -> None:
    write(path, np.zeros((1, width, 3)))


def test_cityscapes_ids_become_train_ids(shared: Path) -> None:
    root = shared / "data" / "miniatures" / "pseudo_cityscapes_dataset"
    data = Data(source=Cityscapes(), root=root).open(Labels(**PUBLISHED["cityscapes"]))
    assert data.splits == ("val",)
    assert data.names("val") == ("frankfurt/frankfurt_000000_000294",)
    published = root / "gtFine/val/frankfurt/frankfurt_000000_000294_gtFine_labelTrainIds.png"
    expected, found = np.asarray(Image.open(published)), ids(Cityscapes(), root, data.labels)
    raw = np.asarray(Image.open(published.with_name(published.name.replace("TrainIds", "Ids"))))
    for identity in np.unique(raw):  # the two files were reduced separately, and differ at borders of classes
        there = raw == identity
        assert len(np.unique(found[there])) == 1
        assert np.bincount(expected[there]).argmax() == found[there][0]
    assert np.mean(found != expected) < 0.005


def test_cityscapes_annotations(tmp_path: Path, write: Write) -> None:
    for split, city in (("train", "ulm"), ("val", "bonn"), ("train_extra", "erfurt"), ("demoVideo", "x")):
        image(write, tmp_path / f"leftImg8bit/{split}/{city}/{city}_1_leftImg8bit.png", 5)
    for split, city in (("train", "ulm"), ("val", "bonn")):
        row(write, tmp_path / f"gtFine/{split}/{city}/{city}_1_gtFine_labelIds.png", 0, 7, 33, 34, 255)
        row(write, tmp_path / f"gtFine/{split}/{city}/{city}_1_gtFine_instanceIds.png", 0, 0, 0, 0, 0)
    for split, city in (("train", "ulm"), ("train_extra", "erfurt")):
        row(write, tmp_path / f"gtCoarse/{split}/{city}/{city}_1_gtCoarse_labelIds.png", 26, 19, 29, 4, 31)
    assert Cityscapes().splits(tmp_path) == ("train", "val")
    assert Cityscapes(annotation="coarse").splits(tmp_path) == ("train", "train_extra")
    assert ids(Cityscapes(), tmp_path, labels_of(19)).tolist() == [[255, 0, 18, 255, 255]]
    coarse = ids(Cityscapes(annotation="coarse"), tmp_path, labels_of(19, ignore=19), "train_extra")
    assert coarse.tolist() == [[13, 6, 19, 19, 16]]


@pytest.mark.parametrize("home", [".", "ADEChallengeData2016"])
def test_ade20k(tmp_path: Path, write: Write, home: str) -> None:
    for folder, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        image(write, tmp_path / home / "images" / folder / f"{name}.jpg", 4)
        row(write, tmp_path / home / "annotations" / folder / f"{name}.png", 0, 1, 150, 20)
    data = Data(source=Ade20k(), root=tmp_path).open(Labels(**PUBLISHED["ade20k"]))
    assert data.splits == ("train", "val")
    assert data.names("val") == ("ADE_val_00000001",)
    found = ids(Ade20k(), tmp_path, data.labels)
    assert found.tolist() == [[255, 0, 149, 19]]
    assert [data.labels.names[identity] for identity in found[0, 1:]] == ["wall", "flag", "chair"]


@pytest.mark.parametrize("folder", ["annotations", "stuffthingmaps", "stuffthingmaps_trainval2017"])
def test_coco_stuff(tmp_path: Path, write: Write, folder: str) -> None:
    """Classes of some raw ids, as in the converter of mmsegmentation."""
    expected = {0: 0, 10: 10, 12: 11, 24: 23, 26: 24, 27: 25, 30: 26, 43: 39, 45: 40, 64: 59, 66: 60, 69: 61, 71: 62}
    expected |= {81: 72, 83: 73, 89: 79, 91: 80, 181: 170, 255: 255}
    for split in ("train2017", "val2017", "test2017"):
        image(write, tmp_path / "images" / split / "000000000139.jpg", len(expected))
    for split in ("train2017", "val2017"):
        row(write, tmp_path / folder / split / "000000000139.png", *expected)
    assert CocoStuff().splits(tmp_path) == ("train", "val")
    assert ids(CocoStuff(), tmp_path, labels_of(171)).tolist() == [list(expected.values())]
    row(write, tmp_path / folder / "val2017" / "000000000140.png", 11)
    image(write, tmp_path / "images" / "val2017" / "000000000140.jpg", 1)
    with pytest.raises(DataError, match=r"140\.png: the mask contains 11; expected a class \(0 to 170\) or 255"):
        Data(source=CocoStuff(), root=tmp_path).open(labels_of(171)).pixel_counts("val")


@pytest.mark.parametrize(("version", "count"), [("1.2", 65), ("2.0", 123)])
def test_mapillary(shared: Path, tmp_path: Path, version: str, count: int) -> None:
    """The last id is void, in both versions, and all others are classes."""
    miniature = shared / "data" / "miniatures" / "pseudo_mapillary_dataset"
    for split in ("training", "validation"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "images").symlink_to(miniature / "images")
        for each in ("1.2", "2.0"):
            (tmp_path / split / f"v{each}").mkdir()
            (tmp_path / split / f"v{each}" / "labels").symlink_to(miniature / f"v{each}")
    source = Mapillary(version=version)
    assert source.splits(tmp_path) == ("train", "val")
    raw = np.asarray(Image.open(miniature / f"v{version}" / "__CRyFzoDOXn6unQ6a3DnQ.png"))
    np.testing.assert_array_equal(ids(source, tmp_path, labels_of(count)), raw)


def test_mapillary_in_the_archive_of_version_1(tmp_path: Path, write: Write) -> None:
    image(write, tmp_path / "training" / "images" / "a.jpg", 3)
    image(write, tmp_path / "testing" / "images" / "a.jpg", 3)
    row(write, tmp_path / "training" / "labels" / "a.png", 0, 64, 65)
    assert Mapillary().splits(tmp_path) == ("train",)
    assert ids(Mapillary(), tmp_path, labels_of(65), "train").tolist() == [[0, 64, 255]]
    with pytest.raises(DataError, match=r"Expected training/images and training/v2\.0/labels, and validation"):
        Mapillary(version="2.0").splits(tmp_path)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (CamVid(), "the folders train and trainannot, val and valannot, test and testannot"),
        (
            Cityscapes(annotation="coarse"),
            "leftImg8bit/<split>/<city>/<name>_leftImg8bit.png and "
            "gtCoarse/<split>/<city>/<name>_gtCoarse_labelIds.png",
        ),
        (
            Ade20k(),
            "images/training, images/validation, annotations/training and annotations/validation, here or in "
            "ADEChallengeData2016",
        ),
        (
            CocoStuff(),
            "images/train2017 and images/val2017, and the PNG files of stuffthingmaps_trainval2017.zip in "
            "annotations/train2017 and annotations/val2017 (or in stuffthingmaps or stuffthingmaps_trainval2017)",
        ),
        (Mapillary(), "training/images and training/v1.2/labels or training/labels, and validation"),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_another_layout(source: Source, expected: str, tmp_path: Path) -> None:
    message = f"{tmp_path}: has another layout. Expected {expected}. Correct `data.root`, or put the data there."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        source.splits(tmp_path)
    with pytest.raises(DataError, match=r"no: no such folder\. Correct `data\.root`, or put the data there\."):
        source.splits(tmp_path / "no")


def test_an_empty_split_names_its_folders(tmp_path: Path, write: Write) -> None:
    (tmp_path / "images" / "training").mkdir(parents=True)
    row(write, tmp_path / "annotations" / "training" / "a.png", 1)
    with pytest.raises(DataError, match=r"Expected files that match `images/training/\{name\}\.\*` and `annotations"):
        Ade20k().listing(tmp_path, "train")


@pytest.mark.parametrize(
    ("source", "classes"),
    [
        ("cityscapes", 19),
        ("ade20k", 150),
        ("coco_stuff", 171),
        ("mapillary", 65),
        ("{type: mapillary, version: '2.0'}", 123),
    ],
)
def test_the_number_of_classes_must_be_that_of_the_source(source: str, classes: int, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(
        f"name: x\nlabels: voc\ndata:\n  source: {source}\n"
        "model: {backbone: small_cnn, decoder: {type: fcn, strides: [16]}}\n"
    )
    name = source.split(",")[0].removeprefix("{type: ")
    with pytest.raises(SpecError) as caught:
        load(file)
    assert str(caught.value) == (
        f"{file}:4: data.source.type: the masks of {name} are mapped to {classes} classes, but `labels` has 21. "
        "Correct `labels`, or read other classes with `type: folder` and `mask`"
    )
