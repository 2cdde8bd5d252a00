"""Connected parts of a mask: as near as a mask of classes comes to single objects."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

BACKGROUND = 0
"""The class that is no object."""
CORNERS = np.ones((3, 3), int)
"""Pixels touch at corners, too."""


class Components(NamedTuple):
    """The connected parts of a mask, in the order of their first pixels, row by row."""

    boxes: np.ndarray
    """int64 `[parts, 4]`: left, top, right, bottom; the last two are the first beyond."""
    classes: np.ndarray
    """int64 `[parts]`."""
    pixels: np.ndarray
    """int64 `[parts]`: how many pixels each has."""


def components(mask: np.ndarray, ignore: int) -> Components:
    """Parts of one class whose pixels touch, also at corners. Class 0 and the ignore id are no parts.

    Objects of one class that touch are one part, and an object that another one cuts in two is two.

    >>> components(np.array([[3, 0, 2], [0, 3, 2], [0, 0, 0]]), 255).boxes.tolist()
    [[0, 0, 2, 2], [2, 0, 3, 2]]

    Args:
        mask: integers `[height, width]`.
        ignore: the ignore id.
    """
    parts, classes = np.zeros(mask.shape, np.int64), list[int]()
    for identity, where in enumerate(ndimage.find_objects(mask.astype(np.int64)), start=1):  # 0 is the background
        if where is None or identity == ignore:
            continue
        found, count = ndimage.label(mask[where] == identity, CORNERS)
        parts[where] += np.where(found > 0, found + len(classes), 0)
        classes += [identity] * count
    pixels = np.bincount(parts.reshape(-1), minlength=1)[1:]
    boxes = [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(parts)]
    order = np.argsort(_first_pixels(parts, len(classes)))
    columns = (np.array(boxes, np.int64).reshape(-1, 4), np.array(classes, np.int64), pixels)
    return Components(*(column[order] for column in columns))


def _first_pixels(parts: np.ndarray, count: int) -> np.ndarray:
    """Where a reader meets each part, numbered from 1 in `parts`."""
    backwards = np.flatnonzero(parts)[::-1]
    first = np.zeros(count + 1, np.int64)
    first[parts.reshape(-1)[backwards]] = backwards  # of several pixels the last one counts
    return first[1:]
