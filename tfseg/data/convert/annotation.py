"""Annotations of images, as the readers of all formats return them."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

import numpy as np

from tfseg.data.convert.regions import Region
from tfseg.errors import DataError

BACKGROUND = "background"
"""Name of the class of pixels outside all objects. A category of this name is the same class."""
SHOWN = 20
"""Maximum number of problems in an error message."""


class Invalid(ValueError):
    """A record that cannot be converted. The message begins with the location of the record."""


class Special(Enum):
    """Values of `Shape.label` that are not names of classes."""

    IGNORE = auto()
    """Pixels with the ignore label."""


@dataclass(frozen=True)
class Shape:
    """Region of one class.

    Args:
        label: Name of the class, or `Special.IGNORE`.
        region: Region of the image.
    """

    label: str | Special
    region: Region


@dataclass(frozen=True)
class Annotation:
    """Annotation of one image.

    Args:
        name: Name of the example: path of the image below the folder of images, without suffix.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        shapes: Shapes in the order in which they are drawn.
        indices: Function that reads a mask instead: indices into `Annotations.names`, `[height, width]`, where larger
            values are ignored. Optional.
    """

    name: str
    height: int
    width: int
    shapes: tuple[Shape, ...] = ()
    indices: Callable[[], np.ndarray] | None = None

    @property
    def is_empty(self) -> bool:
        """True if no shape was annotated."""
        return not self.shapes and self.indices is None


@dataclass(frozen=True)
class Annotations:
    """All annotations of a dataset.

    Args:
        names: Names of the classes in the order of their ids, without background unless the format has such a class.
        images: Annotations of the images, with unique names.
        splits: Split of each example, by name; None if the format defines no splits.
        is_complete: Boolean, whether every pixel has a class, so that no background class is added.
        skipped: Number of shapes without area (points, lines), by type.
    """

    names: tuple[str, ...]
    images: tuple[Annotation, ...]
    splits: dict[str, str] | None = None
    is_complete: bool = False
    skipped: Counter[str] = field(default_factory=Counter)


class Problems:
    """Collector of the problems of all records, so that one error reports them together.

    Args:
        path: Path of the annotations.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._messages: list[str] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Collects the `Invalid` record that ends the block, if any."""
        try:
            yield
        except Invalid as error:
            self._messages.append(str(error))

    def add(self, message: str) -> None:
        """Adds a problem."""
        self._messages.append(message)

    def raise_any(self) -> None:
        """Raises the collected problems.

        Raises:
            DataError: If there is a problem.
        """
        if not self._messages:
            return
        count = len(self._messages)
        more = [f"… and {count - SHOWN} more"] if count > SHOWN else []
        found = "1 problem" if count == 1 else f"{count} problems"
        message = f"{self._path}: {found} in the annotations; nothing was written."
        raise DataError("\n".join([message, *self._messages[:SHOWN], *more]))
