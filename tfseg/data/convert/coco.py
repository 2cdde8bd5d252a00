"""Annotations of COCO: one JSON file with polygons or run lengths."""

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from tfseg.data.convert.annotation import Annotation, Annotations, Invalid, Problems, Shape, Special
from tfseg.data.convert.checks import check_size, checked_ring
from tfseg.data.convert.images import Found, Images
from tfseg.data.convert.json_values import Json, read_json
from tfseg.data.convert.regions import Polygon, Region, Runs
from tfseg.data.convert.rle import coco_counts

Crowd = Literal["ignore", "class", "skip"]
"""Treatment of regions with `iscrowd: 1`: ignore label, pixels of their class, or not drawn."""
Id = int | str
T = TypeVar("T")


def read_coco(path: Path, images: Images, crowd: Crowd = "ignore") -> Annotations:
    """Reads and checks a COCO file.

    The objects of an image are drawn by area, the largest first, and in the order of the file if equal; regions of
    crowds are drawn before all objects.

    Args:
        path: JSON file.
        images: Annotated images.
        crowd: Treatment of crowds.

    Raises:
        DataError: If the file cannot be read, or a record is invalid.
    """
    root, problems = read_json(path), Problems(path)
    names: dict[Id, str | None] = {}
    found: dict[Id, Found | None] = {}  # None for an invalid record, whose annotations are not reported again
    shapes: dict[Id, list[tuple[float, Shape]]] = defaultdict(list)
    for item in _records(root, "categories", problems):
        with problems.collected():
            names[_new(item, names)] = None
            names[item["id"].identity()] = item["name"].text()
    for item in _records(root, "images", problems):
        with problems.collected():
            found[_new(item, found)] = None
            found[item["id"].identity()] = _image(item, images)
    for item in _records(root, "annotations", problems):
        with problems.collected():
            image = _referenced(item, "image_id", found, "images")
            label = _referenced(item, "category_id", names, "categories")
            if image is not None and label is not None:
                shapes[item["image_id"].identity()] += _drawn(item, label, _regions(item["segmentation"], image), crowd)
    problems.raise_any()
    valid = ((key, image) for key, image in found.items() if image is not None)
    return Annotations(_in_order(names), tuple(_annotation(image, shapes[key]) for key, image in valid))


def _drawn(item: Json, label: str, regions: list[Region], crowd: Crowd) -> Iterator[tuple[float, Shape]]:
    """Yields the shapes of an object, each with the area by which they are sorted."""
    is_crowd = _is_crowd(item)
    ignored = is_crowd and crowd == "ignore"
    area = np.inf if is_crowd else sum(region.area for region in regions)
    if not is_crowd or crowd != "skip":
        yield from ((area, Shape(Special.IGNORE if ignored else label, region)) for region in regions)


def _records(root: Json, key: str, problems: Problems) -> list[Json]:
    with problems.collected():
        return root[key].items()
    return []


def _new(item: Json, known: Container[Id]) -> Id:
    identity = item["id"].identity()
    if identity in known:
        raise Invalid(f"{item.file}: {item.path}.id: the id {identity!r} occurs twice. Expected unique ids")
    return identity


def _image(item: Json, images: Images) -> Found:
    where = f"{item.file}: {item.path}.file_name"
    found = images.find(item["file_name"].text(), where)
    if item.get("width") is not None or item.get("height") is not None:
        check_size(found, item["height"].integer(1), item["width"].integer(1), f"{item.file}: {item.path}")
    return found


def _referenced(item: Json, key: str, known: Mapping[Id, T], section: str) -> T:
    identity = item[key].identity()
    if identity not in known:
        raise Invalid(f"{item.file}: {item.path}.{key}: {identity!r} is not the id of a record in `{section}`")
    return known[identity]


def _is_crowd(item: Json) -> bool:
    value = item.get("iscrowd")
    return value is not None and value.integer(0, 1) == 1


def _regions(value: Json, image: Found) -> list[Region]:
    """Returns the polygons of an object, whose union it is, or its run lengths."""
    if isinstance(value.value, dict):
        return [_runs(value, image)]
    polygons = value.items()
    if not polygons:
        raise value.invalid("a polygon or run lengths; objects with boxes only cannot be drawn")
    return [_polygon(polygon, image) for polygon in polygons]


def _polygon(value: Json, image: Found) -> Polygon:
    numbers = value.numbers()
    if len(numbers) % 2:
        raise value.invalid(f"pairs of x and y, but the number of coordinates is odd ({len(numbers)})")
    return Polygon((checked_ring(numbers.reshape(-1, 2), image, f"{value.file}: {value.path}"),))


def _runs(value: Json, image: Found) -> Runs:
    size = [side.integer() for side in value["size"].items()]
    if size != [image.height, image.width]:
        expected = f"the size of the image, [{image.height}, {image.width}]"
        raise value["size"].invalid(expected)
    counts = value["counts"]
    if isinstance(counts.value, str):
        try:
            lengths = np.array(coco_counts(counts.value), np.float64)
        except ValueError as error:
            raise counts.invalid(f"a compressed RLE ({error})") from error
    else:
        lengths = counts.numbers()
    if (lengths < 0).any() or (lengths % 1).any() or lengths.sum() != image.height * image.width:
        raise counts.invalid(f"run lengths with a sum of {image.height * image.width}, the pixels of the image")
    return Runs(lengths.astype(np.int64), 0, 0, image.height, image.width, by_columns=True)


def _annotation(image: Found, shapes: list[tuple[float, Shape]]) -> Annotation:
    ordered = sorted(shapes, key=lambda pair: -pair[0])
    return Annotation(image.name, image.height, image.width, tuple(shape for _, shape in ordered))


def _in_order(names: Mapping[Id, str | None]) -> tuple[str, ...]:
    """Returns the names in the order of their ids. Categories with the same name are one class."""
    ordered = sorted(names, key=lambda identity: (isinstance(identity, str), identity))
    return tuple(dict.fromkeys(name for identity in ordered if (name := names[identity]) is not None))
