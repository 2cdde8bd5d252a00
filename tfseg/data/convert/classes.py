"""Class ids of converted annotations."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseg.data.convert.annotation import BACKGROUND, Annotation, Annotations, Special
from tfseg.errors import DataError
from tfseg.labels import IGNORE, Labels

LARGEST_IGNORE = 65535
"""Ignore label for more classes than bytes can hold."""


class Classes:
    """Class ids by name.

    Args:
        annotations: Annotations.
        path: Path of the annotations, for error messages.
        selected: Names to convert, in the order of their ids; all names if empty. Shapes of other classes are not
            drawn.
        background: Boolean, whether pixels outside all shapes are class 0, `background`; otherwise they are ignored.

    Raises:
        DataError: If a selected name does not exist, or there are fewer than 2 classes.
    """

    def __init__(
        self, annotations: Annotations, path: Path, selected: Sequence[str] = (), background: bool = True
    ) -> None:
        has_background = background and not annotations.is_complete
        _check(path, selected, annotations.names, has_background)
        names = tuple(selected or annotations.names)
        if has_background:
            names = (BACKGROUND, *(name for name in names if name != BACKGROUND))
        if len(names) < 2:
            raise DataError(
                f"{path}: {len(names)} class to convert: {', '.join(names) or 'none'}. Expected at least 2 classes, "
                "one of which may be the background. Correct --classes, or add annotations."
            )
        ignore = IGNORE if len(names) <= IGNORE else LARGEST_IGNORE
        self.labels = Labels(names=names, ignore=ignore)
        self._ids = {name: index for index, name in enumerate(names)}
        self._fill = self._ids.get(BACKGROUND, ignore) if background else ignore
        self._dtype = np.uint8 if ignore == IGNORE else np.uint16
        self._table = np.array([self._ids.get(name, self._fill) for name in annotations.names], self._dtype)

    def mask(self, annotation: Annotation) -> np.ndarray:
        """Draws the shapes of an image in their order; returns class ids, uint8 or uint16 `[height, width]`."""
        if annotation.indices is not None:
            return self._remapped(annotation.indices())
        ids = np.full((annotation.height, annotation.width), self._fill, self._dtype)
        for shape in annotation.shapes:
            value = self.labels.ignore if isinstance(shape.label, Special) else self._ids.get(shape.label)
            if value is not None:
                window, inside = shape.region.pixels(annotation.height, annotation.width)
                ids[window][inside] = value
        return ids

    def _remapped(self, indices: np.ndarray) -> np.ndarray:
        inside = indices < len(self._table)
        return np.where(inside, self._table[np.where(inside, indices, 0)], self._dtype(self.labels.ignore))


def _check(path: Path, selected: Sequence[str], known: Sequence[str], has_background: bool) -> None:
    unknown = [name for name in selected if name not in known and not (has_background and name == BACKGROUND)]
    if unknown:
        raise DataError(
            f"{path}: no classes {', '.join(unknown)}, which --classes selects. Expected: {', '.join(known) or 'none'}."
        )
    if twice := [name for name, times in Counter(selected).items() if times > 1]:
        raise DataError(f"--classes: expected unique names; received twice: {', '.join(twice)}.")
