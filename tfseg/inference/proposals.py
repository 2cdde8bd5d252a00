"""Prediction box by box: DeconvNet's way to see objects of any size at one (Noh, Hong & Han 2015, section 3.3)."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from tfseg.box_file import Boxes, read_boxes
from tfseg.errors import DataError
from tfseg.ops.resize import resize
from tfseg.spec.declare import Location, spec

BATCH = 8
"""Boxes that the network sees at once."""

Scores = Callable[[np.ndarray], np.ndarray]
"""uint8 `[batch, height, width, channels]` to float32 `[batch, height, width, classes]`, before softmax."""


@spec
class Proposals:
    """The network sees boxes of the image, each resized to one size; their scores meet on a canvas of the image's size.

    The canvas starts from zeros. With `max` it keeps the largest score that any box gives to a pixel, P = max(P, G), so
    that no score is below zero; with `mean` the mean over the boxes that cover the pixel. Where no box is, all classes
    have the score 0, and the first class wins.
    """

    boxes: Location | None = None
    """A CSV file `image,left,top,right,bottom`, best first (`docs/deconvnet.md`), such as EdgeBoxes'; `image` is the
    name of the picture's file without suffix. By default windows that slide over the image at several scales: no
    proposals of objects, which must come from elsewhere, but a cover of every place."""
    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (1.0, 0.75, 0.5, 0.35)
    """Sides of the sliding windows, as parts of the image's; each window overlaps the next by half or more. Without a
    file."""
    count: Annotated[int, Field(ge=1)] = 50
    """The most boxes of an image: the first ones that are large enough."""
    min_side: Annotated[int, Field(ge=1)] = 112
    """Boxes whose shorter side has fewer pixels are passed over. Where none is left, the whole image is the box."""
    size: Annotated[int, Field(ge=1)] = 224
    """Side that each box is resized to before the network sees it."""
    merge: Literal["max", "mean"] = "max"
    """How scores of several boxes meet at a pixel."""

    def open(self) -> "ByBoxes":
        """These boxes put to use; reads their file.

        Raises:
            DataError: the file of boxes cannot be used.
        """
        return ByBoxes(self, None if self.boxes is None else read_boxes(self.boxes))


@dataclass(frozen=True)
class ByBoxes:
    """Images seen box by box.

    Args:
        how: which boxes, and how their scores meet.
        given: the boxes of each image by its name, where a file has them; None for windows.
    """

    how: Proposals
    given: Mapping[str, Boxes] | None

    def __call__(self, image: np.ndarray, scores: Scores, classes: int, name: str | None = None) -> np.ndarray:
        """The canvas, float32 `[height, width, classes]`.

        Args:
            image: uint8 `[height, width, channels]`.
            scores: the network.
            classes: how many classes it scores.
            name: what the file of boxes calls the image.

        Raises:
            DataError: the file of boxes has none of this image, or one that lies outside it.
        """
        boxes = self.chosen(image.shape[0], image.shape[1], name)
        canvas = np.zeros((*image.shape[:2], classes), np.float32)
        covered = np.zeros((*image.shape[:2], 1), np.float32)
        for sides, found in _seen(image, boxes, scores, self.how.size):
            place, part = _within(sides, canvas.shape[0], canvas.shape[1])
            if self.how.merge == "max":
                canvas[place] = np.maximum(canvas[place], found[part])
            else:
                canvas[place] += found[part]
                covered[place] += 1
        return canvas if self.how.merge == "max" else canvas / np.maximum(covered, 1)

    def chosen(self, height: int, width: int, name: str | None) -> np.ndarray:
        """int64 `[boxes, 4]`: the boxes that the network is to see."""
        sides = self._sides(height, width, str(name))
        large = sides[np.minimum(sides[:, 2] - sides[:, 0], sides[:, 3] - sides[:, 1]) >= self.how.min_side]
        return large[: self.how.count] if len(large) else np.array([[0, 0, width, height]], np.int64)

    def _sides(self, height: int, width: int, name: str) -> np.ndarray:
        if self.given is None:
            return windows(height, width, self.how.scales)
        self.check([name])
        boxes = self.given[name]
        boxes.check_inside(height, width, name)
        return boxes.sides

    def check(self, names: Iterable[str]) -> None:
        """Raises DataError where there is a file of boxes and it has none of an image of these names."""
        missing = [] if self.given is None else [name for name in names if name not in self.given]
        if missing:
            raise DataError(
                f"{self.how.boxes}: has no box of the image {missing[0]!r}. Expected at least one line for each image "
                "that is predicted, under the name of its file without suffix. Add them, or set "
                "inference.proposals.boxes to null for sliding windows."
            )


def windows(height: int, width: int, scales: tuple[float, ...]) -> np.ndarray:
    """Sliding windows of each scale in turn, of the image's form, row by row, as far apart as evenly fits.

    >>> windows(100, 200, (1.0, 0.75)).tolist()
    [[0, 0, 200, 100], [0, 0, 150, 75], [50, 0, 200, 75], [0, 25, 150, 100], [50, 25, 200, 100]]

    Args:
        height: rows of the image.
        width: columns of the image.
        scales: sides of the windows, as parts of the image's.

    Returns:
        int64 `[windows, 4]`: left, top, right, bottom.
    """
    found = []
    for scale in scales:
        rows, columns = (math.ceil(side * scale) for side in (height, width))
        for top in _starts(height, rows):
            found += [[left, top, left + columns, top + rows] for left in _starts(width, columns)]
    return np.array(found, np.int64)


def _starts(side: int, length: int) -> list[int]:
    """Where windows of a length begin along a side, the next one in each one's first half or just beyond it."""
    steps = -(-2 * (side - length) // length)
    return np.rint(np.linspace(0, side - length, steps + 1)).astype(int).tolist()


def _seen(image: np.ndarray, boxes: np.ndarray, scores: Scores, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each box with its scores, at the box's own size."""
    for start in range(0, len(boxes), BATCH):
        some = boxes[start : start + BATCH]
        parts = np.concatenate([_resized(cut(image, sides), (size, size)) for sides in some])
        pixels = np.rint(parts).astype(np.uint8)
        for sides, found in zip(some, scores(pixels), strict=True):
            yield sides, _resized(found, (int(sides[3] - sides[1]), int(sides[2] - sides[0])))[0]


def cut(image: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """The box of an image; beyond the borders are zeros."""
    height, width = image.shape[:2]
    place, part = _within(sides, height, width)
    box = np.zeros((sides[3] - sides[1], sides[2] - sides[0], image.shape[2]), image.dtype)
    box[part] = image[place]
    return box


def _within(sides: np.ndarray, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The rows and columns that an image and its box share: where they are in the image, and in the box."""
    left, top, right, bottom = (int(side) for side in np.clip(sides, 0, [width, height, width, height]))
    rows, columns = slice(top, bottom), slice(left, right)
    y, x = int(sides[1]), int(sides[0])
    return (rows, columns), (slice(top - y, bottom - y), slice(left - x, right - x))


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, float32 `[1, *size, channels]`."""
    return np.asarray(resize(values[None].astype(np.float32), size))
