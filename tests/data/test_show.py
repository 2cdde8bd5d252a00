"""Contact sheets: pixels, sizes, the choice of examples and the output file."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tfseg.data import Data, Flip, Folder, Mosaic, Shapes, show
from tfseg.data.show import GAP, check_output, contact_sheet
from tfseg.errors import DataError, RunError
from tfseg.images.overlay import LINE, legend
from tfseg.labels import Labels

TWO = Labels(names=("ground", "disc"), colors=((0, 0, 0), (200, 100, 0)))
BOX = (slice(GAP, GAP + 160), slice(GAP, GAP + 320))
"""Pixels of the first example of a sheet of square images of up to 160 pixels."""


@pytest.fixture
def tiny(tmp_path: Path, write: Callable[..., Path]) -> Data:
    """One training image of 2 x 2 pixels: ground, disc, ignored, disc."""
    for split in ("train", "val"):
        write(tmp_path / split / "images" / "é.png", np.full((2, 2, 3), 100))
        write(tmp_path / split / "masks" / "é.png", np.array([[0, 1], [255, 1]]), palette=True)
    return Data(source=Folder(), root=tmp_path, batch_size=2)


def test_every_pixel_of_a_small_sheet(tiny: Data) -> None:
    """Image and overlay, enlarged to 160 pixels, side by side; white stripes over half as bright ignored pixels."""
    sheet = contact_sheet(tiny.open(TWO))
    image = np.full((160, 160, 3), 100, np.uint8)
    overlay = image.copy()
    overlay[:, 80:] = (150, 100, 50)
    for row in range(80, 160):
        for column in range(80):
            overlay[row, column] = 255 if (row + column) % 8 < 2 else 50
    np.testing.assert_array_equal(sheet[BOX], np.concatenate([image, overlay], 1))
    key = legend(["ground", "disc", "ignored"], TWO.palette)
    width = GAP + 320 + GAP + GAP + key.shape[1] + GAP
    assert sheet.shape == (GAP + 160 + LINE + GAP, width, 3)
    shown = sheet[GAP : GAP + 2 * LINE, -GAP - key.shape[1] : -GAP]
    np.testing.assert_array_equal(shown, key[: 2 * LINE])
    last = sheet[GAP + 2 * LINE + 5 : GAP + 3 * LINE - 4, -GAP - key.shape[1] + 5 : -GAP - key.shape[1] + LINE - 4]
    assert {tuple(pixel) for pixel in last.reshape(-1, 3).tolist()} == {(255, 255, 255), (64, 64, 64)}
    name = sheet[GAP + 160 : GAP + 160 + LINE, GAP : GAP + 320]
    assert (name < 128).any(), "the name is written"
    sheet[BOX] = 255
    sheet[GAP : GAP + 3 * LINE, -GAP - key.shape[1] : -GAP] = 255
    sheet[GAP + 160 : GAP + 160 + LINE, GAP : GAP + 320] = 255
    assert (sheet == 255).all()


def test_opacity(tiny: Data) -> None:
    sheet = contact_sheet(tiny.open(TWO), opacity=1.0)
    assert sheet[GAP, GAP + 319].tolist() == [200, 100, 0]
    assert sheet[GAP, GAP + 160].tolist() == [100, 100, 100]


@pytest.mark.slow
def test_training_examples_are_those_of_the_batches() -> None:
    """With crop, augmentation and mixing, in the order of the epoch, without padding examples."""
    data = Data(source=Shapes(size=32, train=3), batch_size=2, crop=32, augment=(Flip(), Mosaic())).open(TWO, 5)
    sheet = contact_sheet(data, epoch=1, columns=2)
    images = [image for step in (0, 1) for image in data.training_batch(1, step)[0]][:3]
    rows = np.repeat(np.repeat(images, 5, 1), 5, 2)
    height, width = 160 + LINE + 2 * GAP, 320 + 2 * GAP
    for image, (row, column) in zip(rows, ((0, 0), (0, 1), (1, 0)), strict=True):
        top, left = row * height + GAP, column * width + GAP
        np.testing.assert_array_equal(sheet[top : top + 160, left : left + 160], image)
    assert (sheet[height:, width : 2 * width] == 255).all(), "the padding example is not shown"
    assert contact_sheet(data, count=1, epoch=1).shape[0] == height


def test_a_split_is_shown_as_in_evaluation(folder: Path, labels: Labels) -> None:
    """Whole images of three sizes, at one scale, in file order."""
    data = Data(source=Folder(), root=folder, crop=8, augment=(Flip(probability=1.0),)).open(labels)
    sheet = contact_sheet(data, split="val", columns=1)
    top = GAP
    for image, _ in data.evaluation("val").as_numpy_iterator():
        enlarged = np.repeat(np.repeat(image[0], 5, 0), 5, 1)
        np.testing.assert_array_equal(sheet[top : top + len(enlarged), GAP : GAP + enlarged.shape[1]], enlarged)
        top += 22 * 5 + LINE + 2 * GAP
    with pytest.raises(DataError, match="test"):
        contact_sheet(data, split="test")


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_large_images_and_other_numbers_of_channels(channels: int) -> None:
    """Large images are reduced to averages of 2 x 2 pixels, rounded per side. With two channels, the first is shown."""
    data = Data(source=Shapes(size=(320, 640), train=1, channels=channels), batch_size=1).open(TWO)
    sheet = contact_sheet(data)
    image = data.training_batch(0, 0)[0][0].astype(float)
    image = image[..., :3] if channels > 2 else np.repeat(image[..., :1], 3, 2)
    means = image.reshape(160, 2, 320, 2, 3).mean((1, 3))
    shown = sheet[GAP : GAP + 160, GAP : GAP + 320]
    assert np.abs(shown - means).max() <= 1
    assert sheet.shape[0] == GAP + 160 + LINE + GAP


def test_long_names_lose_their_beginning() -> None:
    short = show._fitted("folder/" * 50 + "last.png", 150)
    assert short.startswith("…") and short.endswith("/last.png") and show._font().getlength(short) <= 150
    assert show._fitted("a", 150) == "a"
    assert show._fitted("abc", 1) == ""


def test_names_that_are_not_utf8() -> None:
    mask = np.zeros((160, 160), np.int32)
    cell = show._cell("a\udce9.png", np.zeros((160, 160, 3), np.uint8), mask, TWO, 0.5)
    assert (cell[160:] < 128).any()


def test_a_bad_file_is_reported(tiny: Data) -> None:
    assert tiny.root is not None
    (image,) = (tiny.root / "train" / "images").iterdir()
    image.write_bytes(image.read_bytes()[:40])
    with pytest.raises(DataError, match=f"^{image}: cannot be decoded"):
        contact_sheet(tiny.open(TWO))


def test_arguments_are_checked(tiny: Data) -> None:
    text = "Expected `count` and `columns` to be 1 or more, and `epoch` to be from 0 to 2**31 - 1. Received: count="
    for options in ({"count": 0}, {"columns": 0}, {"epoch": -1}, {"epoch": 2**31}, {"epoch": 2**63 - 1}):
        with pytest.raises(ValueError, match=re.escape(text)):
            contact_sheet(replace(tiny).open(TWO), **options)
    assert contact_sheet(tiny.open(TWO), epoch=2**31 - 1).size


def test_output_files_are_checked(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"sheet.gif: expected a file name that ends in .png, .jpg, .jpeg. Change --outp"
    ):
        check_output(tmp_path / "sheet.gif", overwrite=True)
    (tmp_path / "sheet.png").symlink_to(tmp_path / "nothing")
    with pytest.raises(
        DataError, match=r"sheet.png: already exists. Choose another --output, or replace it with --over"
    ):
        check_output(tmp_path / "sheet.png", overwrite=False)
    check_output(tmp_path / "sheet.png", overwrite=True)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(RunError, match=r"folder.png: cannot be written \(Is a directory\)"):
        check_output(tmp_path / "folder.png", overwrite=False)
