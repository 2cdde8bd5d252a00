"""Regions of an image (polygons, run lengths) and their pixels.

Coordinates are continuous: pixel `[row, column]` covers `column` to `column + 1` in x and `row` to `row + 1` in y. A
pixel belongs to a polygon if its center does: polygons with a common edge have no common pixel and leave no gap.
"""

from dataclasses import dataclass

import numpy as np

CHUNK = 1 << 20
"""Maximum number of edge crossings that are computed at once."""
VERTICES = 180
"""Number of vertices of the polygon of an ellipse: it differs by 0.00016 of the radius."""

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Polygon:
    """Polygon of one or more rings. A point is inside if a ray from it crosses an odd number of edges.

    Args:
        rings: Float64 arrays `[points, 2]` of x and y in pixels; a ring inside another one is a hole.
    """

    rings: tuple[np.ndarray, ...]

    @property
    def area(self) -> float:
        """Area in pixels, if the rings do not intersect each other."""
        return abs(sum(map(_signed_area, self.rings)))

    def pixels(self, height: int, width: int) -> tuple[Window, np.ndarray]:
        """Returns a window of the image and the pixels inside the polygon, boolean with the shape of the window.

        >>> square = Polygon((np.array([[1.0, 1.0], [3.0, 1.0], [3.0, 2.0], [1.0, 2.0]]),))
        >>> square.pixels(4, 4)
        ((slice(1, 2, None), slice(1, 3, None)), array([[ True,  True]]))
        """
        points = np.concatenate(self.rings)
        limits = (width, height)
        (left, top), (right, bottom) = (
            np.clip(_first_center(ends), 0, limits).tolist() for ends in (points.min(0), points.max(0))
        )
        crossings = np.zeros((bottom - top, right - left + 1), np.uint8)  # modulo 256: only the parity counts
        for ring in self.rings:
            _add_crossings(crossings, ring, top, left)
        odd = np.cumsum(crossings, axis=1, dtype=np.uint8)[:, :-1] & 1
        return (slice(top, bottom), slice(left, right)), odd.astype(bool)


@dataclass(frozen=True)
class Runs:
    """Mask of run lengths inside a box, which begin with the length of a run outside the region.

    Args:
        counts: Int64 array of alternating run lengths; their sum is `height * width`.
        top: Row of the box.
        left: Column of the box.
        height: Height of the box.
        width: Width of the box.
        by_columns: Boolean, whether the runs go down the columns (COCO) instead of along the rows.
    """

    counts: np.ndarray
    top: int
    left: int
    height: int
    width: int
    by_columns: bool = False

    @property
    def area(self) -> float:
        """Number of pixels."""
        return float(self.counts[1::2].sum())

    def pixels(self, height: int, width: int) -> tuple[Window, np.ndarray]:
        """Returns the window of the box and its pixels, boolean `[height, width]`. The box must be in the image.

        >>> Runs(np.array([1, 2, 1]), top=0, left=3, height=2, width=2).pixels(8, 8)[1].astype(int)
        array([[0, 1],
               [1, 0]])
        """
        inside = np.arange(len(self.counts)) % 2 == 1
        flat = np.repeat(inside, self.counts)
        shape = (self.height, self.width)
        mask = flat.reshape(shape[::-1]).T if self.by_columns else flat.reshape(shape)
        return (slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)), mask


Region = Polygon | Runs


def runs(mask: np.ndarray, top: int = 0, left: int = 0) -> Runs:
    """Returns the run lengths of a boolean mask `[height, width]`.

    >>> runs(np.array([[True, True], [False, True]])).counts
    array([0, 2, 1, 1])
    """
    flat = np.concatenate([[False], mask.reshape(-1)])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(ends, prepend=0, append=mask.size)
    return Runs(counts, top, left, *mask.shape)


def ellipse(center: tuple[float, float], radii: tuple[float, float], degrees: float = 0) -> Polygon:
    """Returns the polygon of an ellipse whose radii in x and y are rotated clockwise, as the image is displayed."""
    angles = np.arange(VERTICES) * (2 * np.pi / VERTICES)
    return Polygon((rotated(np.stack([np.cos(angles), np.sin(angles)], 1) * radii + center, center, degrees),))


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Returns the ring of a box, float64 `[4, 2]`."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def rotated(ring: np.ndarray, center: tuple[float, float], degrees: float) -> np.ndarray:
    """Rotates points clockwise, as the image is displayed (y points down), around `center`."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (ring - center) @ np.array([[cos, sin], [-sin, cos]]) + center


def _first_center(position: np.ndarray) -> np.ndarray:
    """Returns the index of the first pixel whose center is at the position or after it."""
    return np.ceil(position - 0.5).astype(np.int64)


def _signed_area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _add_crossings(crossings: np.ndarray, ring: np.ndarray, top: int, left: int) -> None:
    """Adds, in every row, 1 at the first pixel after each crossing of an edge with the line through the centers."""
    height, width = crossings.shape
    following = np.roll(ring, -1, axis=0)
    down = (ring[:, 1] <= following[:, 1])[:, None]  # edges of two polygons that touch are then computed alike
    upper, lower = np.where(down, ring, following), np.where(down, following, ring)
    first, last = (np.clip(_first_center(ends[:, 1]) - top, 0, height) for ends in (upper, lower))
    step = max(1, CHUNK // max(1, height))
    for start in range(0, len(ring), step):
        part = slice(start, start + step)
        count = (last - first)[part]
        edge = np.repeat(np.arange(len(count)) + start, count)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        along = (row + top + 0.5 - upper[edge, 1]) / (lower[edge, 1] - upper[edge, 1])
        x = upper[edge, 0] + along * (lower[edge, 0] - upper[edge, 0])
        np.add.at(crossings, (row, np.clip(_first_center(x) - left, 0, width - 1)), 1)
