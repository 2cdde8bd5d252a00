"""Findings of `examine` about pairs of images and masks."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.findings import messages
from tfseg.data import Binary, Data, Folder, Shapes
from tfseg.data.doctor import examine
from tfseg.labels import Labels

Write = Callable[..., Path]


def test_valid_data_have_no_problems(data: Data, labels: Labels) -> None:
    assert messages(data.open(labels)) == ()
    assert messages(Data(source=Shapes(size=32, train=20, val=2)).open(labels)) == ()


def test_all_problems_are_reported_at_once(folder: Path, data: Data, labels: Labels, write: Write) -> None:
    train, val = folder / "train", folder / "val"
    (train / "images" / "0.png").write_bytes(b"")
    write(train / "masks" / "1.png", np.full((21, 29), 77), palette=True)
    write(train / "masks" / "2.png", np.zeros((4, 4)), palette=True)
    write(train / "masks" / "3.png", np.full((23, 27), 255), palette=True)
    (val / "images" / "1.png").write_bytes((train / "images" / "4.png").read_bytes())
    write(val / "masks" / "1.png", np.zeros((24, 26)), palette=True)
    assert messages(data.open(labels)) == (
        f"{train}/images/0.png: cannot be decoded (0 bytes). Expected JPEG, PNG, GIF, BMP or .npy (uint8; with "
        "`data.value_range` also int16, uint16, int32, float16, float32, float64). "
        "Restore the file, or remove the example.",
        f"{train}/masks/1.png: the mask contains 77; expected a class (0 to 3) or 255 (ignore). "
        "Correct the mask or `labels`, or remap the ids with `data.source.mask`.",
        f"{train}/images/2.png: the image is 28x22, but its mask {train}/masks/2.png is 4x4. "
        "Expected the same size. Correct either, or remove the example.",
        "train/3: all pixels have the ignore label 255. Remove the example.",
        f"{val}/images/1.png: is identical to {train}/images/4.png of the split train. "
        "Keep the image in one split only.",
    )


def test_classes_without_pixels_are_warnings(data: Data) -> None:
    five = Labels(names=("a", "b", "c", "d", "e"))
    report = examine(data.open(five))
    assert tuple(each.message for each in report.findings) == (
        "train: no mask contains the class 'e'. Correct `labels` or the masks.",
    )
    assert report.errors == (), "a class may be added before its masks"


def test_skipped_files_are_warnings(folder: Path, labels: Labels) -> None:
    """Images of unsupported formats, and masks without an image."""
    for number in (1, 2):
        (folder / "train" / "images" / f"{number}.png").rename(folder / "train" / "images" / f"{number}.webp")
    report = examine(Data(source=Folder(images="{split}/images/{name}.*"), root=folder).open(labels))
    assert report.errors == ()
    assert tuple(each.message for each in report.findings) == (
        f"{folder}: some images of the split train are skipped. Matches with unsupported suffixes: 2 with .webp. "
        "Convert TIFF and WebP files, of any number of bands, with `tfseg data convert FILE --to tfrecord` (TIFF needs "
        "pip install 'tfseg[raster]'), others to PNG; supported are .jpg, .jpeg, .png, .bmp, .gif, .npy.",
        f"{folder}: 2 masks of the split train without an image, for example {folder}/train/masks/1.png. Expected "
        "`{split}/images/{name}.*`. Add the images, or remove the masks.",
    )
    (folder / "val" / "images" / "0.png").unlink()
    assert messages(Data(source=Folder(images="{split}/images/{name}.png"), root=folder).open(labels))[1] == (
        f"{folder}: 1 mask of the split val without an image, for example {folder}/val/masks/0.png. Expected "
        "`{split}/images/{name}.png`. Add the images, or remove the masks."
    )


def test_folders_are_walked_once(folder: Path, data: Data, labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    walked: Counter[str] = Counter()
    scandir = os.scandir

    def counted(path: Path) -> Any:
        if Path(path).is_relative_to(folder):  # other code looks for threads
            walked[str(Path(path).relative_to(folder))] += 1
        return scandir(path)

    monkeypatch.setattr("tfseg.data.sources.patterns.os.scandir", counted)
    assert messages(data.open(labels)) == ()
    assert walked == dict.fromkeys(("train/images", "train/masks", "val/images", "val/masks"), 1)


def test_black_and_white_masks_decoded_as_ids_are_errors(folder: Path, write: Write) -> None:
    """Common mistake: 255 is foreground in the file, but the ignore label for ids."""
    for file in folder.rglob("masks/*.png"):
        write(file, np.where(np.random.default_rng(0).random((20 + int(file.stem), 30 - int(file.stem))) > 0.5, 255, 0))
    two = Labels(names=("a", "b"))
    report = examine(Data(source=Folder(), root=folder).open(two))
    assert report.errors == report.findings
    assert tuple(each.message for each in report.findings) == (
        "train: no mask contains the class 'b'. Correct `labels` or the masks. "
        "If they are black and white, set `data.source.mask: binary`.",
    )
    assert messages(Data(source=Folder(mask=Binary()), root=folder).open(two)) == ()


def test_invalid_splits_are_errors(folder: Path, data: Data, labels: Labels) -> None:
    (folder / "val" / "masks" / "2.png").unlink()
    assert messages(data.open(labels)) == (
        f"{folder}/val/images/2.png: has no mask. Expected `val/masks/2.png`. Add the mask or remove the image.",
    )
    assert messages(Data(source=Folder(), root=folder, validation_split="x").open(labels)) == (
        f'{folder}: no split "x"; expected one of: train, val',
    )
