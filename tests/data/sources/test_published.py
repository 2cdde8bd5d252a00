"""CamVid and PASCAL VOC: layouts and published statistics."""

import re
from pathlib import Path

import numpy as np
import pytest

from tfseg.data import CamVid, Data, Dataset, Voc
from tfseg.data.statistics import statistics
from tfseg.errors import DataError
from tfseg.labels import Labels

NAMES = "Sky Building Pole Road Pavement Tree SignSymbol Fence Car Pedestrian Bicyclist"
CAMVID = Labels(names=tuple(NAMES.split()), ignore=11)
VOC = Labels(names=tuple(map(str, range(21))))


@pytest.fixture(scope="module")
def camvid(shared: Path) -> Dataset:
    return Data(source=CamVid(), root=shared / "data" / "camvid").open(CAMVID)


@pytest.fixture(scope="module")
def voc(shared: Path) -> Dataset:
    return Data(source=Voc(), root=shared / "data" / "voc2012", train_split="train_aug").open(VOC)


def test_camvid_splits(camvid: Dataset, shared: Path) -> None:
    assert camvid.splits == ("test", "train", "val")
    for split, count in (("train", 367), ("val", 101), ("test", 233)):
        assert camvid.count(split) == count
        assert list(camvid.names(split)) == (shared / "data" / "camvid" / f"{split}.txt").read_text().split()


@pytest.mark.parametrize(("split", "road", "void"), [("train", 20_076_880, 2_503_995), ("val", 5_053_176, None)])
def test_camvid_pixel_counts(camvid: Dataset, split: str, road: int, void: int | None) -> None:
    counts = camvid.pixel_counts(split)
    assert counts.classes[3] == road
    assert counts.classes.dtype == np.int64
    assert void is None or counts.ignored == void
    assert counts.classes.sum() + counts.ignored == camvid.count(split) * 480 * 360


def test_camvid_test_pixel_counts(camvid: Dataset) -> None:
    counts = camvid.pixel_counts("test")
    assert counts.classes[3] == 10_390_661
    shares = 100 * np.append(counts.classes, counts.ignored) / (counts.classes.sum() + counts.ignored)
    published = [17.07, 24.61, 1.18, 25.81, 9.27, 11.25, 1.01, 1.18, 3.97, 0.63, 0.19, 3.83]
    np.testing.assert_allclose(shares, published, atol=0.00501)


def test_camvid_statistics(camvid: Dataset) -> None:
    """Weights to the last published digit; mean and std to the third, since these images are JPEGs of the PNGs."""
    stats = statistics(camvid)["train"]
    assert stats["images"] == 367
    assert stats["sizes"] == {"480x360": 367}
    np.testing.assert_allclose(stats["mean"], [0.4119, 0.4251, 0.4327], atol=5e-4)
    np.testing.assert_allclose(stats["std"], [0.3071, 0.3116, 0.3072], atol=5e-4)
    weights = [float(f"{weight:.3g}") for weight in stats["median_frequency_weights"].values()]
    assert weights == [0.279, 0.202, 4.79, 0.149, 1.00, 0.422, 3.85, 1.97, 0.789, 6.37, 8.86]
    assert list(stats["median_frequency_weights"]) == list(CAMVID.names)


def test_voc_in_one_folder(voc: Dataset, shared: Path) -> None:
    assert voc.splits == ("train_aug", "val")
    assert (voc.count("train_aug"), voc.count("val")) == (314, 340)
    assert list(voc.names("val")) == (shared / "data" / "voc2012" / "val.txt").read_text().split()
    counts = voc.pixel_counts("val")
    assert counts.images.min() > 0 and counts.ignored > 0
    sizes = [mask.shape for _, mask in voc.evaluation("val").take(3).as_numpy_iterator()]
    assert sizes == [(1, 366, 500), (1, 335, 500), (1, 333, 500)]


@pytest.mark.parametrize("root", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_devkit(voc: Dataset, tmp_path: Path, root: str) -> None:
    """The same examples in the layout of the devkit, with a configurable folder of masks."""
    home = tmp_path / "VOCdevkit" / "VOC2012"
    lists = home / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    names = voc.names("val")[:3]
    (lists / "val.txt").write_text("".join(f"{name}\n" for name in names))
    flat = Path(str(voc.spec.root))
    (home / "JPEGImages").symlink_to(flat / "JPEGImages", target_is_directory=True)
    (home / "SegmentationClass").symlink_to(flat / "SegmentationClassAug", target_is_directory=True)
    data = Data(source=Voc(), root=tmp_path / root).open(VOC)
    assert (data.splits, data.names("val")) == (("val",), names)
    assert data.files("val")[0][1] == str(home / "SegmentationClass" / f"{names[0]}.png")
    (home / "SegmentationClassAug").symlink_to(flat / "SegmentationClassAug", target_is_directory=True)
    for source, folder in ((Voc(), "SegmentationClassAug"), (Voc(masks="SegmentationClass"), "SegmentationClass")):
        data = Data(source=source, root=tmp_path / root).open(VOC)
        assert data.files("val")[0][1] == str(home / folder / f"{names[0]}.png")


def test_missing_voc_raises(tmp_path: Path) -> None:
    text = (
        f"{tmp_path}: no folder JPEGImages here, in VOC2007 or in VOCdevkit/VOC2007. "
        "Correct `data.root`, or put the data there."
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        _ = Data(source=Voc(year="2007"), root=tmp_path).open(VOC).splits
