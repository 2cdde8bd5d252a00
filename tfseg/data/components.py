"""Connected components of a mask, the closest approximation of objects in a semantic mask."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

BACKGROUND = 0
"""Class id of the background, which has no components."""
CORNERS = np.ones((3, 3), int)
"""8-connectivity: pixels also touch at corners."""


class Components(NamedTuple):
    """Connected components of a mask, sorted by their first pixels in raster scan order."""

    boxes: np.ndarray
    """Int64 array of shape `[components, 4]`: left, top, right, bottom; the last two are exclusive."""
    classes: np.ndarray
    """Class ids, int64 `[components]`."""
    pixels: np.ndarray
    """Numbers of pixels, int64 `[components]`."""


def components(mask: np.ndarray, ignore: int) -> Components:
    """Finds the 8-connected components of each class, except class 0 and the ignore label.

    Touching objects of one class are one component, and an object that is cut in two by another object is two.

    >>> components(np.array([[3, 0, 2], [0, 3, 2], [0, 0, 0]]), 255).boxes.tolist()
    [[0, 0, 2, 2], [2, 0, 3, 2]]

    Args:
        mask: Integer array of shape `[height, width]`.
        ignore: Ignore label.
    """
    numbers, classes = np.zeros(mask.shape, np.int64), list[int]()
    for identity, window in enumerate(ndimage.find_objects(mask.astype(np.int64)), start=1):  # 0 is background
        if window is None or identity == ignore:
            continue
        labeled, count = ndimage.label(mask[window] == identity, CORNERS)
        numbers[window] += np.where(labeled > 0, labeled + len(classes), 0)
        classes += [identity] * count
    pixels = np.bincount(numbers.reshape(-1), minlength=1)[1:]
    boxes = [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(numbers)]
    order = np.argsort(_first_pixels(numbers, len(classes)))
    columns = (np.array(boxes, np.int64).reshape(-1, 4), np.array(classes, np.int64), pixels)
    return Components(*(column[order] for column in columns))


def _first_pixels(numbers: np.ndarray, count: int) -> np.ndarray:
    """Returns the index of the first pixel of each component in raster scan order."""
    backwards = np.flatnonzero(numbers)[::-1]
    first = np.zeros(count + 1, np.int64)
    first[numbers.reshape(-1)[backwards]] = backwards  # the last assignment wins
    return first[1:]
