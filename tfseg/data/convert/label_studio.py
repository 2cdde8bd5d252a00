"""Annotations of Label Studio: its JSON export, with polygons, rectangles, ellipses and brushes."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from tfseg.data.convert.annotation import Annotation, Annotations, Invalid, Problems, Shape
from tfseg.data.convert.checks import check_size, checked_ring
from tfseg.data.convert.images import Found, Images
from tfseg.data.convert.json_values import Json, read_json
from tfseg.data.convert.regions import Polygon, Region, box, ellipse, rotated, runs
from tfseg.data.convert.rle import brush_alpha

KINDS = ("polygonlabels", "rectanglelabels", "ellipselabels", "brushlabels")
"""Types of results with a region and a label."""
OPAQUE = 127
"""Largest alpha of pixels outside a brush: its border is antialiased."""
TASK_ID = 9
"""Length of the prefix `1a2b3c4d-` that uploads add to file names."""


def read_label_studio(path: Path, images: Images) -> Annotations:
    """Reads and checks a JSON export of Label Studio.

    Shapes are drawn in the order of the file, classes sorted by name. Of several annotations of a task, the ground
    truth is read, or else the first one that was not cancelled. Tasks without annotation are not converted.

    Args:
        path: JSON file.
        images: Annotated images.

    Raises:
        DataError: If the file cannot be read, or a record is invalid.
    """
    problems, skipped = Problems(path), Counter[str]()
    tasks: list[Json] = []
    with problems.collected():
        tasks = read_json(path).items()
    found = []
    for task in tasks:
        with problems.collected():
            if (annotation := _chosen(task)) is not None:
                found.append(_annotation(task, annotation, images, problems, skipped))
    problems.raise_any()
    names = {shape.label for image in found for shape in image.shapes if isinstance(shape.label, str)}
    return Annotations(tuple(sorted(names)), tuple(found), skipped=skipped)


def _chosen(task: Json) -> Json | None:
    """Returns the annotation of a task to read, if any."""
    valid = [item for item in task["annotations"].items() if not _is_true(item, "was_cancelled")]
    return next((item for item in valid if _is_true(item, "ground_truth")), valid[0] if valid else None)


def _is_true(item: Json, key: str) -> bool:
    found = item.get(key)
    return found is not None and found.value is True


def _annotation(task: Json, annotation: Json, images: Images, problems: Problems, skipped: Counter[str]) -> Annotation:
    image = _image(task, images)
    shapes: list[Shape] = []
    for item in annotation["result"].items():
        with problems.collected():
            shapes += _shapes(item, image, skipped)
    return Annotation(image.name, image.height, image.width, tuple(shapes))


def _image(task: Json, images: Images) -> Found:
    """Returns the image of a task: the value of `data` that names a file, with or without the prefix of an upload."""
    data = task["data"]
    key = next(iter(data.value), "image") if isinstance(data.value, dict) and "image" not in data.value else "image"
    address = data[key].text()
    where = f"{task.file}: {task.path}.data.{key}"
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise data[key].invalid("the address of an image") from error
    local = parse_qs(parts.query).get("d", [""])[0]  # /data/local-files/?d=folder/image.jpg
    path = local or unquote(parts.path)
    try:
        return images.find(path.lstrip("/"), where)
    except Invalid:
        base = path.rpartition("/")[2]
        if base[TASK_ID - 1 : TASK_ID] == "-":
            return images.find(base[TASK_ID:], where)
        raise


def _shapes(item: Json, image: Found, skipped: Counter[str]) -> Iterator[Shape]:
    """Yields the shape of a result, unless it has no region."""
    kind = item["type"].text()
    if kind not in KINDS:
        skipped[kind] += 1
        return
    check_size(
        image, item["original_height"].integer(1), item["original_width"].integer(1), f"{item.file}: {item.path}"
    )
    rotation = item.get("image_rotation")
    if rotation is not None and rotation.number() % 360:
        raise rotation.invalid("0: annotations of rotated images are not read")
    value = item["value"]
    labels = value[kind].items()
    if len(labels) != 1:
        raise value[kind].invalid("one label")
    yield Shape(labels[0].text(), _region(value, kind, image))


def _region(value: Json, kind: str, image: Found) -> Region:
    where = f"{value.file}: {value.path}"
    percent = np.array([image.width, image.height]) / 100
    if kind == "brushlabels":
        return _brush(value, image)
    if kind == "polygonlabels":
        return Polygon((checked_ring(value["points"].points() * percent, image, f"{where}.points"),))
    degrees = value.get("rotation")
    angle = 0.0 if degrees is None else degrees.number()
    start = np.array([value["x"].number(), value["y"].number()]) * percent
    if kind == "ellipselabels":
        checked_ring(start[None], image, where, least=1)
        radii = [value[key].number(0, 100) for key in ("radiusX", "radiusY")] * percent
        return ellipse((start[0], start[1]), (radii[0], radii[1]), angle)
    size = [value[key].number(0, 100) for key in ("width", "height")] * percent
    checked_ring(start[None], image, where, least=1)
    ring = box(*start, *(start + size))
    if angle:  # around the first corner, possibly beyond the image
        return Polygon((rotated(ring, (start[0], start[1]), angle),))
    return Polygon((checked_ring(ring, image, where),))


def _brush(value: Json, image: Found) -> Region:
    if value["format"].text() != "rle":
        raise value["format"].invalid("rle")
    numbers = value["rle"].numbers()
    if (numbers % 1).any() or ((numbers < 0) | (numbers > 255)).any():
        raise value["rle"].invalid("bytes, 0 to 255")
    try:
        alpha = brush_alpha(numbers.astype(np.uint8).tobytes(), image.height, image.width)
    except ValueError as error:
        raise value["rle"].invalid(f"the run lengths of a brush ({error})") from error
    return runs(alpha > OPAQUE)
