"""Reading of CSV files with the boxes of images, such as the output of EdgeBoxes or of an object detector."""

import csv
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from tfseg.errors import DataError

SIDES = ("left", "top", "right", "bottom")
COLUMNS = ("image", *SIDES)
INSIDE = 0.25
"""Minimum fraction of the area of a box that must lie inside its image."""


@dataclass(frozen=True)
class Boxes:
    """Boxes of one image, in the order of the file.

    Args:
        sides: Int64 array of shape `[boxes, 4]`: left, top, right and bottom in pixels. Columns `left` to `right - 1`
            are inside.
        lines: Line number of each box in the file.
        classes: Content of the column `class` for each box; empty strings without that column.
        file: Path of the CSV file.
    """

    sides: np.ndarray
    lines: tuple[int, ...]
    classes: tuple[str, ...]
    file: Path

    def check_inside(self, height: int, width: int, name: str) -> None:
        """Raises DataError for the first box with less than a quarter of its area inside an image of this size."""
        inside = np.clip(self.sides, 0, [width, height, width, height])
        fraction = _areas(inside) / np.maximum(_areas(self.sides), 1)
        for index in np.flatnonzero(fraction < INSIDE)[:1]:
            raise DataError(
                f"{self.file}:{self.lines[index]}: the box {self.sides[index].tolist()} lies outside the image "
                f"{name}, which is {width}x{height}. Expected left, top, right, bottom in pixels, with at least a "
                "quarter of the box in the image."
            )


def read_boxes(path: Path) -> dict[str, Boxes]:
    """Reads the boxes of each image from a CSV file.

    The header lists the columns `image,left,top,right,bottom`, and `class` for boxes with a class, in any order; other
    columns are ignored. `image` is the name of the example in the data section: for an image file, its name without
    suffix. Coordinates are in pixels from the left and top border of the image; `right` and `bottom` are the first
    column and row outside the box. Fractional coordinates are rounded outward to whole pixels. Proposals should be
    sorted by descending score.

    Args:
        path: Path of the CSV file.

    Returns:
        The boxes of each image, by example name.

    Raises:
        DataError: If the file is missing or malformed.
    """
    rows_of: dict[str, list[tuple[list[int], int, str]]] = defaultdict(list)
    if path.exists() and not path.is_file():  # opening a pipe would block
        raise DataError(f"{path}: the box file is not a regular file. Correct the path.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as text:
            for line, row in _rows(path, text):
                rows_of[row["image"]].append((_sides(row, f"{path}:{line}"), line, (row.get("class") or "").strip()))
    except OSError as error:
        raise DataError(f"{path}: the box file cannot be read: {error.strerror}. Correct the path.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not CSV text: {error}. Expected lines of {','.join(COLUMNS)}.") from error
    return {
        name: Boxes(np.array(sides, np.int64), lines, classes, path)
        for name, (sides, lines, classes) in ((name, zip(*rows, strict=True)) for name, rows in rows_of.items())
    }


def _rows(path: Path, text: TextIO) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the line number and the columns of each row below the header."""
    rows = csv.DictReader(text, skipinitialspace=True)
    names = [name.strip() for name in rows.fieldnames or ()]
    if missing := [name for name in COLUMNS if name not in names]:
        raise DataError(
            f"{path}:1: the first line must list the columns {','.join(COLUMNS)}, and class for boxes of objects. "
            f"Missing: {', '.join(missing)}."
        )
    rows.fieldnames = names
    for row in rows:
        yield rows.line_num, row


def _sides(row: dict[str, str], where: str) -> list[int]:
    try:
        left, top, right, bottom = (float(row[name]) for name in SIDES)
        sides = [math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)]
    except (TypeError, ValueError, OverflowError) as error:
        received = ",".join(str(row[name]) for name in SIDES)
        raise DataError(f"{where}: expected left, top, right, bottom as four numbers. Received: {received}.") from error
    if sides[0] >= sides[2] or sides[1] >= sides[3]:
        raise DataError(
            f"{where}: expected left < right and top < bottom (not a width and a height). Received: {sides}."
        )
    return sides


def _areas(sides: np.ndarray) -> np.ndarray:
    return (sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Computes the pairwise intersection over union (IoU) of two sets of boxes.

    >>> overlaps(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 4, 4]])).round(2).tolist()
    [[1.0, 0.33, 0.0]]

    Args:
        boxes: Array of shape `[n, 4]`: left, top, right, bottom.
        others: Array of shape `[m, 4]`.

    Returns:
        Float64 array of shape `[n, m]`.
    """
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    opposite = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(opposite - corner, 0), -1)
    return np.asarray(shared / (_areas(boxes)[:, None] + _areas(others)[None] - shared))
