"""Box files: accepted forms and error messages."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from tfseg.box_file import overlaps, read_boxes
from tfseg.errors import DataError


def written(folder: Path, text: str) -> Path:
    path = folder / "boxes.csv"
    path.write_text(text)
    return path


def error_message(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_boxes(path)
    return str(error.value)


def test_columns_in_any_order_with_extra_columns(tmp_path: Path) -> None:
    text = "class, score,image,top,left,bottom,right\ncat,0.9,a,2,1,8,7\n,0.5,b/c,0,0,4,4\ndog,0.1,a,0.5,1.5,3.2,4\n"
    boxes = read_boxes(written(tmp_path, text))
    assert list(boxes) == ["a", "b/c"]
    assert boxes["a"].sides.tolist() == [[1, 2, 7, 8], [1, 0, 4, 4]], "fractional sides are rounded outward"
    assert (boxes["a"].lines, boxes["a"].classes) == ((2, 4), ("cat", "dog"))
    assert boxes["b/c"].classes == ("",)
    assert read_boxes(written(tmp_path, "image,left,top,right,bottom\na,0,0,1,1\n"))["a"].classes == ("",)


@pytest.mark.parametrize(
    ("line", "received"),
    [("a,1,2,3", "1,2,3,None"), ("a,1,2,3,x", "1,2,3,x"), ("a,1,2,3,inf", "1,2,3,inf"), ("a,nan,2,3,4", "nan,2,3,4")],
)
def test_sides_must_be_numbers(tmp_path: Path, line: str, received: str) -> None:
    path = written(tmp_path, f"image,left,top,right,bottom\na,0,0,1,1\n{line}\n")
    assert error_message(path) == f"{path}:3: expected left, top, right, bottom as four numbers. Received: {received}."


@pytest.mark.parametrize("sides", [[5, 0, 5, 9], [0, 9, 5, 3]])
def test_sides_must_be_in_order(tmp_path: Path, sides: list[int]) -> None:
    path = written(tmp_path, f"image,left,top,right,bottom\na,{','.join(map(str, sides))}\n")
    assert error_message(path) == (
        f"{path}:2: expected left < right and top < bottom (not a width and a height). Received: {sides}."
    )


def test_pipes_are_rejected_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "boxes.csv")
    assert error_message(tmp_path / "boxes.csv") == (
        f"{tmp_path}/boxes.csv: the box file is not a regular file. Correct the path."
    )


def test_header_must_list_the_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "name,left,top,width,height\na,0,0,1,1\n")
    assert error_message(path) == (
        f"{path}:1: the first line must list the columns image,left,top,right,bottom, and class for boxes of objects. "
        "Missing: image, right, bottom."
    )
    assert "Missing: image, left, top, right, bottom." in error_message(written(tmp_path, ""))


def test_missing_and_binary_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    message = f"{path}: the box file cannot be read: No such file or directory. Correct the path."
    assert error_message(path) == message
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    assert re.fullmatch(
        re.escape(f"{path}: is not CSV text: ") + r".+" + re.escape(". Expected lines of image,left,top,right,bottom."),
        error_message(path),
    )


def test_boxes_must_overlap_their_image(tmp_path: Path) -> None:
    """A quarter of the area is enough: the rest is padded."""
    path = written(tmp_path, "image,left,top,right,bottom\na,-10,0,10,10\na,30,15,50,25\na,31,15,51,25\n")
    boxes = read_boxes(path)["a"]
    boxes.check_inside(20, 60, "a")
    with pytest.raises(DataError) as error:
        boxes.check_inside(20, 40, "a")
    assert str(error.value) == (
        f"{path}:4: the box [31, 15, 51, 25] lies outside the image a, which is 40x20. Expected left, top, right, "
        "bottom in pixels, with at least a quarter of the box in the image."
    )


def test_overlaps_equal_pixel_counts() -> None:
    random = np.random.default_rng(0)
    corners = random.integers(0, 12, (2, 6, 2))
    boxes = np.concatenate([corners, corners + random.integers(1, 9, (2, 6, 2))], -1)
    painted = np.zeros((2, 6, 24, 24), bool)
    for side, index in np.ndindex(2, 6):
        left, top, right, bottom = boxes[side, index]
        painted[side, index, top:bottom, left:right] = True
    both = (painted[0][:, None] & painted[1][None]).sum((-1, -2))
    either = (painted[0][:, None] | painted[1][None]).sum((-1, -2))
    np.testing.assert_allclose(overlaps(boxes[0], boxes[1]), both / either)
    assert (both > 0).any()
