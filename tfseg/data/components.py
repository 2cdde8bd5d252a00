"""Connected parts of a mask: as near as a mask of classes comes to single objects."""

from typing import NamedTuple

import numpy as np

BACKGROUND = 0
"""The class that is no object."""


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
    row, left, right, identity = _runs(mask, ignore)
    _, part = np.unique(
        _connected(len(row), *_touching(row, left, right, identity, mask.shape[1])), return_inverse=True
    )
    count = int(part.max(initial=-1)) + 1
    lowest, highest = np.full((count, 2), max(mask.shape)), np.zeros((count, 2), np.int64)
    np.minimum.at(lowest, part, np.stack([left, row], 1))
    np.maximum.at(highest, part, np.stack([right, row + 1], 1))
    classes, pixels = np.zeros(count, np.int64), np.zeros(count, np.int64)
    classes[part] = identity
    np.add.at(pixels, part, right - left)
    return Components(np.concatenate([lowest, highest], 1), classes, pixels)


def _runs(mask: np.ndarray, ignore: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row, first column, column beyond the last and class of every horizontal run of an object's pixels."""
    width = mask.shape[1]
    begins = np.ones(mask.shape, bool)
    begins[:, 1:] = mask[:, 1:] != mask[:, :-1]
    starts = np.flatnonzero(begins)
    stops = np.append(starts[1:], mask.size)
    identity = mask.reshape(-1)[starts].astype(np.int64)
    objects = (identity != BACKGROUND) & (identity != ignore)
    starts, stops, identity = starts[objects], stops[objects], identity[objects]
    row = starts // width
    return row, starts - row * width, stops - row * width, identity


def _touching(
    row: np.ndarray, left: np.ndarray, right: np.ndarray, identity: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs of one class in rows that follow each other."""
    step = width + 2  # so that places of different rows cannot be confused
    first = np.searchsorted(row * step + right, (row + 1) * step + left, "left")
    last = np.searchsorted(row * step + left, (row + 1) * step + right, "right")
    count = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(row)), count)
    lower = np.arange(len(upper)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    same = identity[upper] == identity[lower]
    return upper[same], lower[same]


def _connected(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """For each of `count` nodes the lowest one that the edges `one`, `other` connect it to."""
    root = np.arange(count)
    while True:
        before = root.copy()
        lowest = np.minimum(root[one], root[other])
        for end in (one, other):
            np.minimum.at(root, before[end], lowest)
        root = root[root]
        if np.array_equal(root, before):
            return root
