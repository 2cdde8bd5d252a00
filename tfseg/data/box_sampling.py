"""Training on boxes instead of whole pictures: DeconvNet's two stages (Noh, Hong & Han 2015, section 4).

Masks of classes do not tell objects of one class that touch apart, so what is called an object here is a connected part
of its mask, unless a file says where the objects are. All boxes are found once, from every mask of the split, and
depend on the files alone; from there on a box is an example like any other.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import tensorflow as tf
from pydantic import Field

from tfseg.box_file import Boxes, overlaps, read_boxes
from tfseg.data.components import Components, components
from tfseg.data.examples import Examples
from tfseg.data.reading import explained, read
from tfseg.data.windows import ALL, Windows
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.spec.declare import ByType, Location, spec

Side = Annotated[int, Field(ge=1)]
Found = tuple[np.ndarray, np.ndarray]
"""int64 `[boxes, 4]` and the class that each keeps, `[boxes]`."""

_NOTHING: Found = (np.zeros((0, 4), np.int64), np.zeros(0, np.int64))


class BoxSpec:
    """What finds boxes. One of your own needs `type`, `size` and `find`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("find", "size")
    file: Path | None = None
    """The file of boxes, if any."""
    size: int | tuple[int, int]
    """Side, or height and width, that boxes are resized to."""

    def find(self, name: str, mask: np.ndarray, given: Boxes | None, labels: Labels) -> Found:
        """The boxes of one picture; `given` are those that the file has of it."""
        raise NotImplementedError


@spec
class ObjectBoxes(BoxSpec):
    """The first stage: one example for each object, in its box and some context. Its class stays, all else becomes
    class 0; pixels to ignore stay so."""

    type: Literal["objects"] = "objects"
    file: Location | None = None
    """A CSV file of the objects' tight boxes, `image,left,top,right,bottom,class` (`docs/deconvnet.md`); the class is a
    name or an id. By default the boxes are those of the connected parts of each mask."""
    context: Annotated[float, Field(ge=1, le=4)] = 1.2
    """How many times as high and as wide as the tight box."""
    min_pixels: Annotated[int, Field(ge=1)] = 100
    """Parts of fewer pixels are no objects. Without a file."""
    size: Side | tuple[Side, Side] = 250
    """Side, or height and width, that boxes are resized to, before augmentation and the crop."""

    def find(self, name: str, mask: np.ndarray, given: Boxes | None, labels: Labels) -> Found:
        """The boxes of one picture's objects, and their classes."""
        if self.file is None:
            found = large(components(mask, labels.ignore), self.min_pixels)
            tight, classes = found.boxes, found.classes
        elif given is None:
            return _NOTHING
        else:
            tight, classes = given.sides, _classes(given, labels.names)
        margin = np.rint((tight[:, 2:] - tight[:, :2]) * (self.context - 1) / 2).astype(np.int64)
        return np.concatenate([tight[:, :2] - margin, tight[:, 2:] + margin], 1), classes


@spec
class ProposalBoxes(BoxSpec):
    """The second stage: one example for each box that overlaps an object enough, all its labels kept."""

    type: Literal["proposals"] = "proposals"
    file: Location | None = None
    """A CSV file of proposals, `image,left,top,right,bottom` (`docs/deconvnet.md`), such as EdgeBoxes'. By default the
    boxes of the objects are moved at random, by the name of their picture alone."""
    overlap: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The least intersection over union with the tight box of some object, for a box to be an example."""
    min_pixels: Annotated[int, Field(ge=1)] = 100
    """Connected parts of fewer pixels are no objects."""
    jitter: Annotated[float, Field(gt=0, lt=0.5)] = 0.25
    """How far each side moves at most, as a part of the object's height or width. Without a file."""
    per_object: Annotated[int, Field(ge=1)] = 10
    """How many boxes are tried for each object. Without a file."""
    size: Side | tuple[Side, Side] = 250
    """Side, or height and width, that boxes are resized to, before augmentation and the crop."""

    def find(self, name: str, mask: np.ndarray, given: Boxes | None, labels: Labels) -> Found:
        """The boxes of one picture that overlap an object."""
        tight = large(components(mask, labels.ignore), self.min_pixels).boxes
        if not len(tight) or (self.file is not None and given is None):
            return _NOTHING
        boxes = self._moved(tight, name) if given is None else given.sides
        boxes = boxes[overlaps(boxes, tight).max(1) >= self.overlap]
        return boxes, np.full(len(boxes), ALL)

    def _moved(self, tight: np.ndarray, name: str) -> np.ndarray:
        draws = np.random.default_rng(list(sha256(name.encode()).digest()))
        moves = draws.uniform(-self.jitter, self.jitter, (len(tight), self.per_object, 4))
        sides = np.tile(tight[:, 2:] - tight[:, :2], 2)[:, None]
        moved = tight[:, None] + np.rint(moves * sides).astype(np.int64)
        moved[..., 2:] = np.maximum(moved[..., 2:], moved[..., :2] + 1)
        return moved.reshape(-1, 4)


TrainingBoxes = Annotated[ObjectBoxes | ProposalBoxes | None, ByType(contract=BoxSpec)]


def large(found: Components, smallest: int) -> Components:
    """The parts of at least `smallest` pixels."""
    enough = found.pixels >= smallest
    return Components(*(values[enough] for values in found))


def boxed(how: BoxSpec, pictures: Examples, labels: Labels, known: frozenset[str]) -> Examples:
    """The boxes of `pictures` as examples. Reads all their masks.

    Args:
        how: which boxes.
        pictures: what to cut them out of.
        labels: the classes.
        known: the examples of all splits, which a file of boxes may name.

    Raises:
        DataError: a mask or the file of boxes cannot be used, or there is no box.
    """
    given = {} if how.file is None else read_boxes(how.file)
    if unknown := sorted(set(given) - known):
        raise DataError(
            f"{how.file}:{given[unknown[0]].lines[0]}: {unknown[0]!r} is none of the data's images, nor are "
            f"{len(unknown) - 1} others. Expected names as the data section has them, such as {min(known)!r}."
        )
    found = []
    for name, mask in zip(pictures.listing.names, _masks(pictures), strict=True):
        if name in given:
            given[name].check_inside(mask.shape[0], mask.shape[1], name)
        found.append(how.find(name, mask, given.get(name), labels))
    sides, classes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if not len(sides):
        source = "an object that is large enough" if how.file is None else f"such a box in {how.file}"
        raise DataError(
            f"data.boxes: no image of the split {pictures.listing.split} has {source}. Received: type={how.type}. "
            "Change its fields, or set data.boxes to null for whole images."
        )
    which = np.repeat(np.arange(len(found)), [len(boxes) for boxes, _ in found])
    size = (how.size, how.size) if isinstance(how.size, int) else how.size
    return Windows(which, sides, classes).examples(pictures, size, labels.ignore)


def _masks(pictures: Examples) -> Iterator[np.ndarray]:
    def load(index: tf.Tensor) -> tuple[tuple[tf.Tensor], tf.Tensor]:
        ids, fault = pictures.mask(index)
        return (ids,), fault

    with explained():
        for (ids,) in read(0, pictures.count, load, pictures.files).as_numpy_iterator():
            yield ids


def _classes(given: Boxes, names: tuple[str, ...]) -> np.ndarray:
    """The ids of the classes that the file names."""
    ids = {word: place for place, name in enumerate(names) for word in (str(place), name)}
    for word, line in zip(given.words, given.lines, strict=True):
        if ids.get(word, 0) == 0:
            raise DataError(
                f"{given.file}:{line}: the column class of a box of data.boxes: objects must hold a class's name or "
                f"id, from {names[1]!r} (1) to {names[-1]!r} ({len(names) - 1}). Received: {word!r}."
            )
    return np.array([ids[word] for word in given.words], np.int64)
