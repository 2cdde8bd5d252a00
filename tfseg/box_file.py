"""Boxes of pictures in a file: what a user's own program, as EdgeBoxes or a detector, found there."""

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
"""The least part of a box that must lie in its picture."""


@dataclass(frozen=True)
class Boxes:
    """The boxes of one picture, in the order of the file.

    Args:
        sides: int64 `[boxes, 4]`: left, top, right and bottom in pixels. Pixels `left` to `right - 1` are within.
        lines: the line of each in its file.
        words: what stands in the column `class`, for each; empty texts where there is none.
        file: where they were read.
    """

    sides: np.ndarray
    lines: tuple[int, ...]
    words: tuple[str, ...]
    file: Path

    def check_inside(self, height: int, width: int, name: str) -> None:
        """Raises DataError for the first box that lies outside a picture of this size, all or nearly all of it."""
        inside = np.clip(self.sides, 0, [width, height, width, height])
        part = _areas(inside) / np.maximum(_areas(self.sides), 1)
        for place in np.flatnonzero(part < INSIDE)[:1]:
            raise DataError(
                f"{self.file}:{self.lines[place]}: the box {self.sides[place].tolist()} lies outside the image "
                f"{name}, which is {width}x{height}. Expected left, top, right, bottom in pixels, with at least a "
                "quarter of the box in the image."
            )


def read_boxes(path: Path) -> dict[str, Boxes]:
    """The boxes of each picture in a CSV file.

    Its first line names the columns: `image,left,top,right,bottom`, and `class` where boxes have one, in any order;
    others are passed over. `image` is what the data section calls the example, for a picture file its name without
    suffix. Sides are in pixels from the picture's left and upper border; `right` and `bottom` are the first column and
    row beyond the box. Fractions widen the box to whole pixels. Better boxes come first.

    Raises:
        DataError: the file is missing, or not of this form.
    """
    found: dict[str, list[tuple[list[int], int, str]]] = defaultdict(list)
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise DataError(f"{path}: the file of boxes is no regular file. Correct the path.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as text:
            for line, row in _rows(path, text):
                found[row["image"]].append((_sides(row, f"{path}:{line}"), line, (row.get("class") or "").strip()))
    except OSError as error:
        raise DataError(f"{path}: the file of boxes cannot be read: {error.strerror}. Correct the path.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is no CSV text: {error}. Expected lines of {','.join(COLUMNS)}.") from error
    return {
        name: Boxes(np.array(sides, np.int64), lines, words, path)
        for name, (sides, lines, words) in ((name, zip(*rows, strict=True)) for name, rows in found.items())
    }


def _rows(path: Path, text: TextIO) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines below the first one, by column."""
    rows = csv.DictReader(text, skipinitialspace=True)
    names = [name.strip() for name in rows.fieldnames or ()]
    if missing := [name for name in COLUMNS if name not in names]:
        raise DataError(
            f"{path}:1: the first line must name the columns {','.join(COLUMNS)}, and for boxes of objects class. "
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
    """Intersection over union of every box with every other.

    >>> overlaps(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 4, 4]])).round(2).tolist()
    [[1.0, 0.33, 0.0]]

    Args:
        boxes: `[n, 4]`: left, top, right, bottom.
        others: `[m, 4]`.

    Returns:
        float64 `[n, m]`.
    """
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    opposite = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(opposite - corner, 0), -1)
    return np.asarray(shared / (_areas(boxes)[:, None] + _areas(others)[None] - shared))
