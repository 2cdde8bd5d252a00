"""Training on boxes instead of whole images: the two training stages of DeconvNet (Noh, Hong & Han 2015, section 4).

Semantic masks do not separate touching objects of one class. An object is therefore a connected component of the mask,
unless a box file gives the objects. All boxes are computed once, from all masks of the split, and depend on the files
alone. Each box is then a separate example.
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
BoxClasses = tuple[np.ndarray, np.ndarray]
"""Boxes, int64 `[boxes, 4]`, and the class to keep in the mask of each box (`ALL`: every class), int64 `[boxes]`."""

_NO_BOXES: BoxClasses = (np.zeros((0, 4), np.int64), np.zeros(0, np.int64))


class BoxSpec:
    """Base class of box sampling. A custom class needs `type`, `size` and `find`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("find", "size")
    file: Path | None = None
    """Path of the box file, if any."""
    size: int | tuple[int, int]
    """Size of the resized boxes: side of a square, or height and width."""

    def find(self, name: str, mask: np.ndarray, given: Boxes | None, labels: Labels) -> BoxClasses:
        """Returns the boxes of one image and their classes.

        Args:
            name: Name of the example.
            mask: Int32 array of shape `[height, width]`.
            given: Boxes of this image in the box file; None if there are none.
            labels: Labels.
        """
        raise NotImplementedError


@spec
class ObjectBoxes(BoxSpec):
    """Cuts out one example per object, with some context around its box: the first training stage of DeconvNet.

    The mask keeps the class of the object and the ignore label; all other pixels become class 0.
    """

    type: Literal["objects"] = "objects"
    file: Location | None = None
    """CSV file with the tight boxes of the objects, `image,left,top,right,bottom,class` (`docs/deconvnet.md`); the
    class is a name or an id. Defaults to the boxes of the connected components of each mask."""
    context: Annotated[float, Field(ge=1, le=4)] = 1.2
    """Ratio of the height and width of the cut-out box to those of the tight box."""
    min_pixels: Annotated[int, Field(ge=1)] = 100
    """Minimum number of pixels of an object; smaller components are discarded. Has no effect with a `file`."""
    size: Side | tuple[Side, Side] = 250
    """Size of the resized boxes, before augmentation and crop: side of a square, or height and width."""

    def find(self, name: str, mask: np.ndarray, given: Boxes | None, labels: Labels) -> BoxClasses:
        """Returns the boxes of the objects of one image, and their classes."""
        if self.file is None:
            objects = large(components(mask, labels.ignore), self.min_pixels)
            tight, classes = objects.boxes, objects.classes
        elif given is None:
            return _NO_BOXES
        else:
            tight, classes = given.sides, _classes(given, labels.names)
        margin = np.rint((tight[:, 2:] - tight[:, :2]) * (self.context - 1) / 2).astype(np.int64)
        return np.concatenate([tight[:, :2] - margin, tight[:, 2:] + margin], 1), classes


@spec
class ProposalBoxes(BoxSpec):
    """Cuts out one example per box that overlaps an object, with all labels: the second training stage of DeconvNet."""

    type: Literal["proposals"] = "proposals"
    file: Location | None = None
    """CSV file with proposals, `image,left,top,right,bottom` (`docs/deconvnet.md`), such as those of EdgeBoxes.
    Defaults to randomly shifted boxes of the objects, seeded by the name of the image alone."""
    overlap: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Minimum intersection over union (IoU) of a box with the tight box of an object."""
    min_pixels: Annotated[int, Field(ge=1)] = 100
    """Minimum number of pixels of an object; smaller connected components are discarded."""
    jitter: Annotated[float, Field(gt=0, lt=0.5)] = 0.25
    """Maximum shift of each side, as a fraction of the height or width of the object. Has no effect with a `file`."""
    per_object: Annotated[int, Field(ge=1)] = 10
    """Number of random boxes per object, before selection by `overlap`. Has no effect with a `file`."""
    size: Side | tuple[Side, Side] = 250
    """Size of the resized boxes, before augmentation and crop: side of a square, or height and width."""

    def find(self, name: str, mask: np.ndarray, given: Boxes | None, labels: Labels) -> BoxClasses:
        """Returns the boxes of one image that overlap an object."""
        tight = large(components(mask, labels.ignore), self.min_pixels).boxes
        if not len(tight) or (self.file is not None and given is None):
            return _NO_BOXES
        boxes = self._shifted(tight, name) if given is None else given.sides
        boxes = boxes[overlaps(boxes, tight).max(1) >= self.overlap]
        return boxes, np.full(len(boxes), ALL)

    def _shifted(self, tight: np.ndarray, name: str) -> np.ndarray:
        draws = np.random.default_rng(list(sha256(name.encode()).digest()))
        shifts = draws.uniform(-self.jitter, self.jitter, (len(tight), self.per_object, 4))
        sides = np.tile(tight[:, 2:] - tight[:, :2], 2)[:, None]
        shifted = tight[:, None] + np.rint(shifts * sides).astype(np.int64)
        shifted[..., 2:] = np.maximum(shifted[..., 2:], shifted[..., :2] + 1)
        return shifted.reshape(-1, 4)


TrainingBoxes = Annotated[ObjectBoxes | ProposalBoxes | None, ByType(contract=BoxSpec)]


def large(objects: Components, min_pixels: int) -> Components:
    """Returns the components of at least `min_pixels` pixels."""
    enough = objects.pixels >= min_pixels
    return Components(*(values[enough] for values in objects))


def boxed(sampling: BoxSpec, whole: Examples, labels: Labels, known: frozenset[str]) -> Examples:
    """Returns the boxes of images as examples. Reads all masks of the images.

    Args:
        sampling: Box sampling.
        whole: Examples of whole images.
        labels: Labels.
        known: Names of the examples of all splits. A box file with any other name is invalid.

    Raises:
        DataError: If a mask or the box file is invalid, or there is no box.
    """
    given = {} if sampling.file is None else read_boxes(sampling.file)
    if unknown := sorted(set(given) - known):
        raise DataError(
            f"{sampling.file}:{given[unknown[0]].lines[0]}: unknown image {unknown[0]!r} (and "
            f"{len(unknown) - 1} more). Expected the name of an example of the dataset, such as {min(known)!r}."
        )
    sampled = []
    for name, mask in zip(whole.listing.names, _masks(whole), strict=True):
        if name in given:
            given[name].check_inside(mask.shape[0], mask.shape[1], name)
        sampled.append(sampling.find(name, mask, given.get(name), labels))
    sides, classes = (np.concatenate(parts) for parts in zip(*sampled, strict=True))
    if not len(sides):
        source = "an object that is large enough" if sampling.file is None else f"a suitable box in {sampling.file}"
        raise DataError(
            f"data.boxes: no image of the split {whole.listing.split} has {source}. Received: type={sampling.type}. "
            "Change the fields of data.boxes, or set data.boxes to null for whole images."
        )
    images = np.repeat(np.arange(len(sampled)), [len(boxes) for boxes, _ in sampled])
    size = (sampling.size, sampling.size) if isinstance(sampling.size, int) else sampling.size
    return Windows(images, sides, classes).examples(whole, size, labels.ignore)


def _masks(examples: Examples) -> Iterator[np.ndarray]:
    def load(index: tf.Tensor) -> tuple[tuple[tf.Tensor], tf.Tensor]:
        ids, problem = examples.mask(index)
        return (ids,), problem

    with explained():
        for (ids,) in read(0, examples.count, load, examples.files).as_numpy_iterator():
            yield ids


def _classes(given: Boxes, names: tuple[str, ...]) -> np.ndarray:
    """Returns the class ids of the boxes of a file."""
    ids = {text: index for index, name in enumerate(names) for text in (str(index), name)}
    for text, line in zip(given.classes, given.lines, strict=True):
        if ids.get(text, 0) == 0:
            raise DataError(
                f"{given.file}:{line}: for data.boxes: objects, the column class must be a class name or id, from "
                f"{names[1]!r} (1) to {names[-1]!r} ({len(names) - 1}). Received: {text!r}."
            )
    return np.array([ids[text] for text in given.classes], np.int64)
