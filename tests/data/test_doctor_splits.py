"""Findings of `examine` about whole splits: duplicates, class shares and sizes; its report, statistics and sheet."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.findings import kinds
from tests.data.test_image_hash import scene
from tfseg.data import Data, Folder, Shapes
from tfseg.data.doctor import Finding, Report, examine
from tfseg.data.doctor.sheet import CELL, MARGIN, TEXT, _worst, write_sheet
from tfseg.data.statistics import statistics
from tfseg.labels import Labels

Write = Callable[..., Path]
COUNT = 20


@pytest.fixture
def scenes(tmp_path: Path, write: Write) -> Data:
    """20 smooth images of 40x30 in both splits, all different, with a mask of the four classes."""
    mask = np.arange(30 * 40).reshape(30, 40) % 4
    for start, split in ((0, "train"), (COUNT, "val")):
        for number in range(COUNT):
            write(tmp_path / split / "images" / f"{number}.png", scene(start + number, 30, 40))
            write(tmp_path / split / "masks" / f"{number}.png", mask)
    return Data(source=Folder(), root=tmp_path)


@pytest.mark.slow
def test_duplicates_class_shares_and_sizes(scenes: Data, labels: Labels, write: Write) -> None:
    """Copies of training images in the validation split: identical, encoded again without and with loss, resized."""
    root = scenes.root
    assert root is not None
    image = {number: root / f"train/images/{number}.png" for number in range(COUNT)}
    (root / "val/images/0.png").write_bytes(image[0].read_bytes())
    Image.open(image[1]).save(root / "val/images/1.bmp")
    (root / "val/images/1.png").unlink()
    encoded = io.BytesIO()
    Image.open(image[2]).save(encoded, "JPEG", quality=60)
    (root / "val/images/2.png").write_bytes(encoded.getvalue())
    write(root / "val/images/3.png", np.asarray(Image.open(image[3]).resize((140, 105))))
    write(root / "val/masks/3.png", np.zeros((105, 140)))
    for number in range(4, COUNT):  # the ring is rare in the validation split
        write(root / f"val/masks/{number}.png", np.arange(30 * 40).reshape(30, 40) % 3)
    report = examine(scenes.open(labels))
    assert [(each.level, each.kind) for each in report.findings] == [
        ("warning", "image_size"), ("error", "duplicate"), ("error", "duplicate"),
        ("warning", "near_duplicate"), ("warning", "class_share"),
    ]  # fmt: skip
    size, first, second, near, share = report.findings
    assert size.message == (
        f"val: 1 image is more than 3 times larger or smaller than the median size, 40x30: {root}/val/images/3.png. "
        "Check that they belong to the dataset."
    )
    assert first.files == (f"{root}/val/images/0.png", str(image[0]))
    assert second.files == (f"{root}/val/images/1.bmp", str(image[1])), "the same pixels in another file"
    assert near.names == ("2", "3") or near.names == ("3", "2")
    assert near.message.startswith(
        "val: 2 images look like an image of the split train (at most 6 bits of the perceptual hash differ): "
    )
    assert f"{root}/val/images/3.png and {image[3]} (0 of 63 bits differ)" in near.message
    assert near.message.endswith(
        "Metrics on copies of training images are too high: keep copies, and frames of one scene, in one split."
    )
    pixels = [statistics(scenes.open(labels))[split]["pixels"] for split in ("train", "val")]
    shares = [each["ring"] / sum(each.values()) for each in pixels]
    assert share.message == (
        f"train: the class 'ring' has {shares[0]:.2%} of the labeled pixels, but {shares[1]:.2%} in the split val. "
        "Shares differ by more than a factor of 5. Divide the images into splits so that both contain the class."
    )


def test_statistics_and_json(folder: Path, data: Data, labels: Labels) -> None:
    assert examine(data.open(labels)).statistics == statistics(data.open(labels))
    (folder / "train/images/0.png").write_bytes(b"")
    report = examine(data.open(labels)).as_json()
    assert json.loads(json.dumps(report)) == json.loads(json.dumps(report))
    assert report["counts"] == {"errors": 1, "warnings": 0}
    (finding,) = report["findings"]
    assert finding["files"] == (f"{folder}/train/images/0.png", f"{folder}/train/masks/0.png")
    assert {key: finding[key] for key in ("level", "kind", "split", "names")} == {
        "level": "error", "kind": "unreadable", "split": "train", "names": ("0",)
    }  # fmt: skip
    assert report["statistics"]["train"]["images"] == 4, "valid examples only"


def test_contact_sheet(folder: Path, labels: Labels, tmp_path: Path, write: Write) -> None:
    """Shows unreadable files, and names that are not UTF-8 or longer than a line."""
    (folder / "train/images/0.png").write_bytes(b"\x89PNG")
    write(folder / "train/masks/1.png", np.full((21, 29), 77))
    write(folder / "train/masks/2.png", np.zeros((400, 4)))
    names = ("train/{}/4.png", "train/{}/b\udcff.png"), ("train/{}/3.png", "train/{}/" + "long" * 30 + ".png")
    for old, new in names:
        for part in ("images", "masks"):
            (folder / old.format(part)).rename(folder / new.format(part))
    data = Data(source=Folder(), root=folder, validation_split="train").open(labels)
    for file in ("b\udcff", "long" * 30):
        Image.new("L", (1, 1)).save(folder / f"train/masks/{file}.png")
    report = examine(data)
    assert len(report.errors) == 5
    sheet = tmp_path / "sheet.png"
    assert write_sheet(sheet, data, report) == 5
    drawing = Image.open(sheet)
    assert drawing.size == (5 * (CELL + 2 * MARGIN), CELL + TEXT + 2 * MARGIN)
    assert len(np.unique(np.asarray(drawing)[CELL + MARGIN :].reshape(-1, 3), axis=0)) > 2, "text"


def test_ignored_pixels_are_hatched(tmp_path: Path, labels: Labels, write: Write) -> None:
    """On the sheet, not on the image, which is reduced from 480 to 240 pixels."""
    for split in ("train", "val"):
        write(tmp_path / split / "images/a.png", np.full((480, 480, 3), 100))
        write(tmp_path / split / "masks/a.png", np.repeat([[255, 0]], 240, 1).repeat(480, 0))
    data = Data(source=Folder(), root=tmp_path).open(labels)
    finding = Finding("error", "unreadable", "", "val", ("a",))
    write_sheet(tmp_path / "sheet.png", data, Report((finding,), (), {}))
    cell = np.asarray(Image.open(tmp_path / "sheet.png"))[MARGIN : MARGIN + CELL, MARGIN : MARGIN + CELL]
    stripes = np.add.outer(np.arange(240), np.arange(120)) % 8 < 2
    np.testing.assert_array_equal(cell[:, :120, 0], np.where(stripes, 255, 50))
    (tmp_path / "val/masks/a.png").write_bytes(b"no mask")
    write_sheet(tmp_path / "sheet.png", data, Report((finding,), (), {}))
    cell = np.asarray(Image.open(tmp_path / "sheet.png"))[MARGIN : MARGIN + CELL, MARGIN : MARGIN + CELL]
    assert (cell == 100).all(), "without a mask, no pixel is ignored"


def test_a_contact_sheet_has_all_kinds_of_findings() -> None:
    """30 unreadable files do not fill the sheet."""
    findings = [Finding("warning", "palette", "", "val", ("p",))]
    findings += [Finding("error", "unreadable", "", "train", (str(number),)) for number in range(30)]
    findings += [Finding("error", "ids", "", "val", ("i",)), Finding("error", "boxes", "")]
    shown = [(finding.kind, split, name) for finding, split, name in _worst(Report(tuple(findings), (), {}))]
    assert len(shown) == 24
    assert shown[:3] == [("unreadable", "train", "0"), ("ids", "val", "i"), ("unreadable", "train", "1")]


def test_no_sheet_without_examples(data: Data, labels: Labels, tmp_path: Path) -> None:
    opened = Data(source=Shapes(size=32, train=4, val=2)).open(labels)
    report = examine(opened)
    assert write_sheet(tmp_path / "sheet.png", opened, report) == 0
    assert not (tmp_path / "sheet.png").exists()


def test_invalid_examples_that_training_skips_are_warnings(folder: Path, labels: Labels) -> None:
    (folder / "train/images/0.png").write_bytes(b"")
    lists = {"source": Folder(), "root": folder, "validation_split": "train", "on_error": "skip"}
    assert kinds(Data(**lists, max_skipped=0.2).open(labels)) == [("warning", "unreadable")]
    assert kinds(Data(**lists, max_skipped=0.1).open(labels)) == [("warning", "unreadable"), ("error", "max_skipped")]
