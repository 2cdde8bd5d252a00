"""Annotations of CVAT: "CVAT for images 1.1", one XML file."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import numpy as np

from tfseg.data.convert.annotation import Annotation, Annotations, Invalid, Problems, Shape
from tfseg.data.convert.checks import check_size, checked_ring
from tfseg.data.convert.images import Found, Images
from tfseg.data.convert.json_values import is_plain
from tfseg.data.convert.regions import Polygon, Region, Runs, box, ellipse, rotated
from tfseg.errors import DataError, first_line

WITHOUT_AREA = ("polyline", "points", "tag", "cuboid", "skeleton")
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Subsets of CVAT in lower case, and the names of the splits."""


class _Builder(ElementTree.TreeBuilder):
    """Builder that rejects document types, whose entities can expand to any size. CVAT writes none."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise ValueError("document types (<!DOCTYPE …>) are not accepted")


class _Element:
    """An XML element that knows its position, for error messages.

    Args:
        element: Element.
        where: File and position.
    """

    def __init__(self, element: ElementTree.Element, where: str) -> None:
        self.tag, self.where = element.tag, where
        self._values = element.attrib

    def text(self, key: str) -> str:
        """Returns an attribute."""
        if not is_plain(self._values.get(key, "")):
            raise self.invalid(key, "a string")
        return self._values[key]

    def number(self, key: str, default: float | None = None) -> float:
        """Returns a finite number."""
        if default is not None and key not in self._values:
            return default
        return self._converted(key, self._values.get(key, ""), "a finite number")[0]

    def integer(self, key: str, default: int | None = None) -> int:
        """Returns an integer."""
        number = self.number(key, default)
        if number != int(number) or abs(number) >= 2**31:
            raise self.invalid(key, "an integer")
        return int(number)

    def points(self) -> np.ndarray:
        """Returns the attribute `points`, `x,y;x,y;…`, float64 `[points, 2]`."""
        expected = "points as x,y;x,y;…"
        pairs = [
            self._converted("points", pair, expected) for pair in self._values.get("points", "").split(";") if pair
        ]
        if any(len(pair) != 2 for pair in pairs):
            raise self.invalid("points", expected)
        return np.array(pairs, np.float64).reshape(-1, 2)

    def lengths(self) -> np.ndarray:
        """Returns the attribute `rle`, int64 `[runs]`."""
        expected = "run lengths separated by commas"
        lengths = np.array(self._converted("rle", self._values.get("rle", ""), expected))
        if (lengths < 0).any() or (lengths % 1).any():
            raise self.invalid("rle", expected)
        return lengths.astype(np.int64)

    def invalid(self, key: str, expected: str) -> Invalid:
        """Returns an error about an attribute."""
        received = repr(self._values[key][:60]) if key in self._values else "none"
        return Invalid(f"{self.where}: {key}: expected {expected}; received {received}")

    def _converted(self, key: str, text: str, expected: str) -> list[float]:
        try:
            numbers = [float(word) for word in text.split(",")]
        except ValueError as error:
            raise self.invalid(key, expected) from error
        if not all(map(math.isfinite, numbers)):
            raise self.invalid(key, expected)
        return numbers


def read_cvat(path: Path, images: Images) -> Annotations:
    """Reads and checks a file of CVAT. Shapes are drawn by `z_order`, and in the order of the file if equal.

    Args:
        path: XML file.
        images: Annotated images.

    Raises:
        DataError: If the file cannot be read, or a record is invalid.
    """
    root = _root(path)
    problems, skipped = Problems(path), Counter[str]()
    names = tuple(dict.fromkeys(name for item in root.iterfind("./meta//labels/label/name") if (name := item.text)))
    found, subsets = [], {}
    for index, item in enumerate(root.iterfind("image"), 1):
        element = _Element(item, f"{path}: image {index}")
        with problems.collected():
            image = images.find(element.text("name"), element.where)
            check_size(image, element.integer("height"), element.integer("width"), element.where)
            subsets[image.name] = SPLITS.get(item.get("subset", "").lower(), "")
            shapes = list(_shapes(item, element.where, image, names, problems, skipped))
            found.append(Annotation(image.name, image.height, image.width, tuple(shapes)))
    if not found:
        problems.add(f"{path}: has no valid <image>. Expected a file in the format CVAT for images 1.1.")
    problems.raise_any()
    splits = set(subsets.values())
    is_split = {"train", "val"} <= splits and "" not in splits
    return Annotations(names, tuple(found), subsets if is_split else None, skipped=skipped)


def _root(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(path.read_bytes(), ElementTree.XMLParser(target=_Builder()))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Expected an XML file of CVAT.") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        message = f"is not the XML of CVAT ({first_line(error)}). Expected the format CVAT for images 1.1."
        raise DataError(f"{path}: {message}") from error


def _shapes(
    item: ElementTree.Element,
    where: str,
    image: Found,
    names: tuple[str, ...],
    problems: Problems,
    skipped: Counter[str],
) -> Iterator[Shape]:
    ordered = []
    for index, child in enumerate(item, 1):
        element = _Element(child, f"{where}, {child.tag} {index}")
        with problems.collected():
            if child.tag in WITHOUT_AREA:
                skipped[child.tag] += 1
            elif child.tag not in _READERS:
                raise Invalid(f"{element.where}: expected one of {', '.join((*_READERS, *WITHOUT_AREA))}")
            else:
                label = element.text("label")
                if label not in names:
                    raise element.invalid("label", f"one of the labels in <meta>: {', '.join(names)}")
                ordered.append((element.integer("z_order", 0), Shape(label, _READERS[child.tag](element, image))))
    yield from (shape for _, shape in sorted(ordered, key=lambda pair: pair[0]))


def _polygon(element: _Element, image: Found) -> Region:
    return Polygon((checked_ring(element.points(), image, f"{element.where}: points"),))


def _box(element: _Element, image: Found) -> Region:
    ring = box(*(element.number(key) for key in ("xtl", "ytl", "xbr", "ybr")))
    degrees = element.number("rotation", 0)
    if degrees:  # a rotated box may extend beyond the image
        return Polygon((rotated(_near(ring, image, element), ring.mean(0), degrees),))
    return Polygon((checked_ring(ring, image, element.where),))


def _ellipse(element: _Element, image: Found) -> Region:
    cx, cy, rx, ry = (element.number(key) for key in ("cx", "cy", "rx", "ry"))
    _near(box(cx - abs(rx), cy - abs(ry), cx + abs(rx), cy + abs(ry)), image, element)
    return ellipse((cx, cy), (rx, ry), element.number("rotation", 0))


def _mask(element: _Element, image: Found) -> Region:
    top, left, height, width = (element.integer(key) for key in ("top", "left", "height", "width"))
    if min(top, left, height, width) < 0 or top + height > image.height or left + width > image.width:
        size = f"{image.width}x{image.height}"
        raise Invalid(f"{element.where}: expected a mask inside the image of {size} pixels")
    lengths = element.lengths()
    if lengths.sum() != height * width:
        raise element.invalid("rle", f"run lengths with a sum of {height * width}, the pixels of the mask")
    return Runs(lengths, top, left, height, width)


_READERS: dict[str, Callable[[_Element, Found], Region]] = {
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
    "mask": _mask,
}


def _near(ring: np.ndarray, image: Found, element: _Element) -> np.ndarray:
    """Checks that a shape that may extend beyond the image is no farther away than the size of the image."""
    size = np.array([image.width, image.height])
    if ((ring < -size) | (ring > 2 * size)).any():
        raise Invalid(f"{element.where}: expected a shape in the image of {image.width}x{image.height} pixels")
    return ring
