"""Instance-wise prediction on object proposals, as in DeconvNet (Noh, Hong & Han 2015, section 5.1)."""

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
"""Number of boxes per batch."""

Scores = Callable[[np.ndarray], np.ndarray]
"""Function of uint8 images `[batch, height, width, channels]` to logits, float32 `[batch, height, width, classes]`."""


@spec
class Proposals:
    """Applies the network to boxes of the image, resized to one size, and merges their logits at the size of the image.

    The merged logits start from zeros. With `max` they are the largest logits of any box at a pixel, P = max(P, G), so
    that no logit is negative; with `mean`, the mean over the boxes that cover the pixel. At pixels without a box, all
    classes have the logit 0, and the first class is predicted.
    """

    boxes: Location | None = None
    """CSV file `image,left,top,right,bottom`, best boxes first (`docs/deconvnet.md`), such as those of EdgeBoxes;
    `image` is the name of the image file without suffix. Defaults to sliding windows at several scales, which cover
    every pixel but are not object proposals."""
    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (1.0, 0.75, 0.5, 0.35)
    """Sides of the sliding windows, as fractions of the sides of the image; neighboring windows overlap by half or
    more. Ignored if `boxes` is set."""
    count: Annotated[int, Field(ge=1)] = 50
    """Maximum number of boxes per image: the first ones that are large enough."""
    min_side: Annotated[int, Field(ge=1)] = 112
    """Minimum length of the shorter side of a box, in pixels. If no box is large enough, the whole image is the box."""
    size: Annotated[int, Field(ge=1)] = 224
    """Side that each box is resized to."""
    merge: Literal["max", "mean"] = "max"
    """Rule that merges the logits of several boxes at a pixel."""

    def open(self) -> "OpenProposals":
        """Reads the box file, if there is one.

        Raises:
            DataError: If the box file cannot be used.
        """
        return OpenProposals(self, None if self.boxes is None else read_boxes(self.boxes))


@dataclass(frozen=True)
class OpenProposals:
    """Proposals with the contents of their box file.

    Args:
        spec: `Proposals`, the settings.
        boxes: Dict of image names to the boxes of the file, or None for sliding windows.
    """

    spec: Proposals
    boxes: Mapping[str, Boxes] | None

    def __call__(self, image: np.ndarray, scores: Scores, classes: int, name: str | None = None) -> np.ndarray:
        """Computes the merged logits of the boxes of an image.

        Args:
            image: Uint8 array `[height, width, channels]`.
            scores: Function that computes the logits of a batch of boxes.
            classes: Integer, number of classes.
            name: Name of the image in the box file.

        Returns:
            Float32 array `[height, width, classes]`.

        Raises:
            DataError: If the box file has no box for this image, or a box with less than a quarter of its area inside
                the image.
        """
        boxes = self.select(image.shape[0], image.shape[1], name)
        merged = np.zeros((*image.shape[:2], classes), np.float32)
        covered = np.zeros((*image.shape[:2], 1), np.float32)
        for sides, box_scores in _box_scores(image, boxes, scores, self.spec.size):
            in_image, in_box = _overlap(sides, merged.shape[0], merged.shape[1])
            if self.spec.merge == "max":
                merged[in_image] = np.maximum(merged[in_image], box_scores[in_box])
            else:
                merged[in_image] += box_scores[in_box]
                covered[in_image] += 1
        return merged if self.spec.merge == "max" else merged / np.maximum(covered, 1)

    def select(self, height: int, width: int, name: str | None) -> np.ndarray:
        """Returns the boxes that the network is applied to, int64 `[boxes, 4]`."""
        sides = self._sides(height, width, str(name))
        large = sides[np.minimum(sides[:, 2] - sides[:, 0], sides[:, 3] - sides[:, 1]) >= self.spec.min_side]
        return large[: self.spec.count] if len(large) else np.array([[0, 0, width, height]], np.int64)

    def _sides(self, height: int, width: int, name: str) -> np.ndarray:
        if self.boxes is None:
            return windows(height, width, self.spec.scales)
        self.check([name])
        boxes = self.boxes[name]
        boxes.check_inside(height, width, name)
        return boxes.sides

    def check(self, names: Iterable[str]) -> None:
        """Raises DataError if there is a box file that has no box of an image with one of these names."""
        missing = [] if self.boxes is None else [name for name in names if name not in self.boxes]
        if missing:
            raise DataError(
                f"{self.spec.boxes}: has no box for the image {missing[0]!r}. Expected at least one line per image to "
                "predict, with the name of its file without suffix. Add the missing lines, or set "
                "inference.proposals.boxes to null for sliding windows."
            )


def windows(height: int, width: int, scales: tuple[float, ...]) -> np.ndarray:
    """Returns sliding windows, scale by scale in raster scan order, evenly spaced and with the image's aspect ratio.

    >>> windows(100, 200, (1.0, 0.75)).tolist()
    [[0, 0, 200, 100], [0, 0, 150, 75], [50, 0, 200, 75], [0, 25, 150, 100], [50, 25, 200, 100]]

    Args:
        height: Integer, height of the image.
        width: Integer, width of the image.
        scales: Sides of the windows, as fractions of the sides of the image.

    Returns:
        Int64 array `[windows, 4]`: left, top, right, bottom.
    """
    boxes = []
    for scale in scales:
        rows, columns = (math.ceil(side * scale) for side in (height, width))
        for top in _starts(height, rows):
            boxes += [[left, top, left + columns, top + rows] for left in _starts(width, columns)]
    return np.array(boxes, np.int64)


def _starts(side: int, length: int) -> list[int]:
    """Returns the starts of windows along a side, at most about half a window apart."""
    steps = -(-2 * (side - length) // length)
    return np.rint(np.linspace(0, side - length, steps + 1)).astype(int).tolist()


def _box_scores(
    image: np.ndarray, boxes: np.ndarray, scores: Scores, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields each box and its logits, at the size of the box."""
    for start in range(0, len(boxes), BATCH):
        batch = boxes[start : start + BATCH]
        parts = np.concatenate([_resized(cut(image, sides), (size, size)) for sides in batch])
        pixels = np.rint(parts).astype(np.uint8)
        for sides, box_scores in zip(batch, scores(pixels), strict=True):
            yield sides, _resized(box_scores, (int(sides[3] - sides[1]), int(sides[2] - sides[0])))[0]


def cut(image: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Crops a box of an image, zero-padded beyond the borders."""
    height, width = image.shape[:2]
    in_image, in_box = _overlap(sides, height, width)
    box = np.zeros((sides[3] - sides[1], sides[2] - sides[0], image.shape[2]), image.dtype)
    box[in_box] = image[in_image]
    return box


def _overlap(sides: np.ndarray, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Returns the rows and columns of the overlap of image and box, in the image and in the box."""
    left, top, right, bottom = (int(side) for side in np.clip(sides, 0, [width, height, width, height]))
    rows, columns = slice(top, bottom), slice(left, right)
    y, x = int(sides[1]), int(sides[0])
    return (rows, columns), (slice(top - y, bottom - y), slice(left - x, right - x))


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes bilinearly to float32 `[1, *size, channels]`."""
    return np.asarray(resize(values[None].astype(np.float32), size))
