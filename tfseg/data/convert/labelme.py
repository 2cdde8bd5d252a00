"""Annotations of labelme: one JSON file per image."""

import base64
import binascii
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tfseg.data.convert.annotation import BACKGROUND, Annotation, Annotations, Problems, Shape, Special
from tfseg.data.convert.checks import check_size, checked_ring
from tfseg.data.convert.images import Found, Images
from tfseg.data.convert.json_values import Json, read_json
from tfseg.data.convert.regions import Polygon, Region, box, ellipse, runs
from tfseg.errors import DataError

LABELS: dict[str, str | Special] = {"__ignore__": Special.IGNORE, "_background_": BACKGROUND}
"""Names with a meaning in labelme's own converters."""
WITHOUT_AREA = ("point", "points", "line", "linestrip")
KINDS = ("polygon", "rectangle", "circle", "mask")


def read_labelme(path: Path, images: Images) -> Annotations:
    """Reads and checks the files of labelme. Shapes are drawn in the order of the file, classes sorted by name.

    Args:
        path: Folder of the JSON files, with its subfolders, or one file.
        images: Annotated images.

    Raises:
        DataError: If there is no file, or a file or a record is invalid.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: contains no JSON file. Expected the files of labelme (`*.json`).")
    problems, skipped = Problems(path), Counter[str]()
    found = []
    for file in files:
        try:
            root = read_json(file)
        except DataError as error:
            problems.add(str(error))
            continue
        with problems.collected():
            found.append(_annotation(root, images, problems, skipped))
    problems.raise_any()
    names = {shape.label for image in found for shape in image.shapes if isinstance(shape.label, str)}
    return Annotations(tuple(sorted(names)), tuple(found), skipped=skipped)


def folder_of_images(path: Path) -> Path:
    """Returns the folder of the files of labelme, which are beside the images by default."""
    return path if path.is_dir() else path.parent


def _annotation(root: Json, images: Images, problems: Problems, skipped: Counter[str]) -> Annotation:
    image = images.find(root["imagePath"].text(), f"{root.file}: imagePath")
    if root.get("imageHeight") is not None or root.get("imageWidth") is not None:
        check_size(image, root["imageHeight"].integer(1), root["imageWidth"].integer(1), f"{root.file}: imageHeight")
    shapes: list[Shape] = []
    for item in root["shapes"].items():
        with problems.collected():
            shapes += _shapes(item, image, skipped)
    return Annotation(image.name, image.height, image.width, tuple(shapes))


def _shapes(item: Json, image: Found, skipped: Counter[str]) -> Iterator[Shape]:
    """Yields the shape of a record, unless it has no area."""
    kind = item.get("shape_type")
    name = "polygon" if kind is None else kind.text()
    label = item["label"].text()
    if name in WITHOUT_AREA:
        skipped[name] += 1
        return
    if kind is not None and name not in KINDS:
        raise kind.invalid(f"one of {', '.join((*KINDS, *WITHOUT_AREA))}")
    yield Shape(LABELS.get(label, label), _region(item, name, image))


def _region(item: Json, kind: str, image: Found) -> Region:
    points, where = item["points"], f"{item.file}: {item.path}.points"
    ring = points.points()
    if kind == "polygon":
        return Polygon((checked_ring(ring, image, where),))
    if len(ring) != 2:
        raise points.invalid(f"the two points of a {kind}")
    first, second = checked_ring(ring, image, where, least=2)
    if kind == "rectangle":
        return Polygon((box(*first, *second),))
    if kind == "circle":
        radius = float(np.hypot(*(second - first)))
        return ellipse((first[0], first[1]), (radius, radius))
    return _mask(item["mask"], first, second, image)


def _mask(value: Json, first: np.ndarray, second: np.ndarray, image: Found) -> Region:
    """Decodes the PNG of a mask, which covers the box from the first to the second point, both included."""
    (left, top), (right, bottom) = first.astype(int).tolist(), second.astype(int).tolist()
    expected = (bottom - top + 1, right - left + 1)
    if top < 0 or left < 0 or bottom >= image.height or right >= image.width:
        raise value.invalid(f"a mask inside the image of {image.width}x{image.height} pixels")
    try:
        data = base64.b64decode(value.text(), validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as mask:
            size = (mask.height, mask.width)
            pixels = np.asarray(mask) if size == expected else None
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise value.invalid("a PNG in base64") from error
    if pixels is None or pixels.ndim != 2:
        raise value.invalid(f"a gray PNG of {expected[1]}x{expected[0]} pixels, the size of the box of its points")
    return runs(pixels > 0, top, left)
