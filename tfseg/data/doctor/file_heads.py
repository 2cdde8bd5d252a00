"""Properties in the headers of image and mask files that decoding loses: EXIF orientation, format and palette."""

import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from tfseg.labels import Labels

_ORIENTATION = 0x0112
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""Exceptions of Pillow for files that it cannot identify or whose header is corrupt."""
PUBLISHED_CLASSES = 8
"""Number of classes from which on default colors are compared with palettes; palettes of a few colors are arbitrary."""


@dataclass
class Heads:
    """Headers of the files of a split, by the index of the example, as far as they differ from the ordinary.

    Pillow reads the headers only. Examples with one image and one mask file are read; other sources have none.

    Args:
        labels: Labels, whose colors are compared with the palettes of masks.
    """

    labels: Labels
    orientations: dict[int, int] = field(default_factory=dict)
    """EXIF orientations of JPEG images other than 1."""
    jpeg_masks: set[int] = field(default_factory=set)
    """Masks that are JPEG files."""
    permuted: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Masks whose palette has the color of one class at the id of another: the id, and the class of the color."""

    def add(self, index: int, files: tuple[str, ...], pixels: np.ndarray | None) -> None:
        """Reads the headers of the files of an example.

        Args:
            index: Integer, index of the example.
            files: Files of the example.
            pixels: Number of pixels per value of the mask; None if it was not decoded.
        """
        if len(files) != 2:
            return
        if (orientation := _read(files[0])[1]) > 1:
            self.orientations[index] = orientation
        kind, _, palette = _read(files[1])
        if kind == "JPEG":
            self.jpeg_masks.add(index)
        if palette is not None and pixels is not None and (found := self._permutation(palette, pixels)):
            self.permuted[index] = found

    def _permutation(self, palette: np.ndarray, pixels: np.ndarray) -> tuple[int, int] | None:
        """Returns an id and the class with its color, if at least two ids of the mask have colors of classes."""
        if self.labels.colors is None and self.labels.count < PUBLISHED_CLASSES:
            return None
        classes = _classes_by_color(self.labels)
        used = [each for each in np.flatnonzero(pixels[: self.labels.count]).tolist() if each < len(palette)]
        known = [(each, found) for each in used if (found := classes.get(tuple(palette[each].tolist())))]
        wrong = [(each, min(found)) for each, found in known if each not in found]
        return wrong[0] if len(known) > 1 and wrong else None


def _classes_by_color(labels: Labels) -> dict[tuple[int, ...], set[int]]:
    classes: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for identity, color in enumerate(labels.palette[: labels.count].tolist()):
        if any(color):  # black is the default of palettes
            classes[tuple(color)].add(identity)
    return classes


def _read(file: str) -> tuple[str, int, np.ndarray | None]:
    """Returns the format of a file, the EXIF orientation of a JPEG, and the palette of a PNG, `[colors, 3]`."""
    with warnings.catch_warnings(action="ignore"):
        try:
            with Image.open(file, formats=("JPEG", "PNG")) as opened:
                if opened.format == "JPEG":
                    return "JPEG", _valid(opened.getexif().get(_ORIENTATION)), None
                colors = opened.getpalette("RGB") if opened.mode == "P" else None
        except _UNREADABLE:
            return "", 1, None
    return "PNG", 1, None if colors is None else np.array(colors, np.uint8).reshape(-1, 3)


def _valid(orientation: Any) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
