"""Annotations of YOLO segmentation: one text file per image, `class x1 y1 x2 y2 …` per line, normalized to 0 to 1."""

import os
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from tfseg.data.convert.annotation import Annotation, Annotations, Invalid, Problems, Shape
from tfseg.data.convert.checks import checked_ring
from tfseg.data.convert.images import Found, Images
from tfseg.data.convert.json_values import is_plain, shown
from tfseg.data.convert.regions import Polygon
from tfseg.errors import DataError, first_line

DATA, CLASSES = "data.yaml", "classes.txt"
"""Files with the names of the classes."""
SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
"""Keys of `data.yaml` with the images of a split, and names of the splits."""
BOX = 5
"""Number of values in a line of a box."""


def read_yolo(path: Path, images: Images) -> Annotations:
    """Reads and checks the label files of YOLO.

    Objects are drawn by area, the largest first. An image without a label file has no objects.

    Args:
        path: `data.yaml`, whose label files are in `labels` folders beside the `images` folders, or the folder of the
            label files, with `classes.txt` or `data.yaml` in it or beside it.
        images: Annotated images.

    Raises:
        DataError: If the names of the classes are missing, or a file or a line is invalid.
    """
    labels = None if path.suffix in (".yaml", ".yml") else path
    if labels is not None and not labels.is_dir():
        raise DataError(f"{path}: is neither a folder nor a YAML file. Expected the label files of YOLO, or {DATA}.")
    description = _description(path)
    names = _names(path) if description is None else _names_of(description, path)
    problems, found = Problems(path), []
    files = {name: _label_file(images.files[name], name, labels) for name in images.files}
    for name, file in files.items():
        with problems.collected():
            image = images.sized(name, str(path))
            found.append(_annotation(file, image, names, problems))
    if labels is not None:
        for file in sorted(set(labels.rglob("*.txt")) - set(files.values())):
            if file.name not in (CLASSES, "train.txt", "val.txt", "test.txt"):
                problems.add(f"{file}: no image of this name in {images.folder}. Add the image or remove the file.")
    problems.raise_any()
    return Annotations(names, tuple(found), _splits(description, path, images))


def folder_of_images(path: Path) -> Path:
    """Returns the folder that contains the image folders of `data.yaml`, and no other images.

    Raises:
        DataError: If these folders are not all below the folder of the file, or there are other images.
    """
    advice = "Give the folder of the annotated images with --images."
    description = None if path.is_dir() else _description(path)
    if description is None:
        raise DataError(f"{path}: is a folder of label files, which do not name the images. {advice}")
    entries = [str(entry) for key in SPLITS for entry in _listed(description.get(key))]
    if not entries:
        raise DataError(f"{path}: lists no folder of images. {advice}")
    folders = []
    for entry in entries:
        if (folder := _inside(path.parent, str(description.get("path") or "."), entry)) is None:
            raise DataError(f"{path}: the images {entry!r} are no folder in {path.parent}. {advice}")
        folders.append(folder)
    common = Path(os.path.commonpath(folders))
    for image in Images(common).files.values():
        if not any(image.is_relative_to(folder) for folder in folders):
            raise DataError(f"{path}: the image {image} is in none of the folders {', '.join(entries)}. {advice}")
    return common


def _inside(home: Path, base: str, entry: str) -> Path | None:
    """Returns the folder of an entry below `home`; also without leading `..`, which some programs write too often."""
    stripped = PurePosixPath(*(part for part in PurePosixPath(entry).parts if part != ".."))
    candidates = (home / base / entry, home / base / stripped, home / stripped)
    found = (each for each in candidates if each.is_dir() and each.resolve().is_relative_to(home.resolve()))
    return next((Path(os.path.normpath(each)) for each in found), None)


def _description(path: Path) -> dict[str, Any] | None:
    """Returns the content of `data.yaml`; None if there is none in the folder of labels or beside it."""
    candidates = [path] if not path.is_dir() else [path / DATA, path.parent / DATA]
    file = next((file for file in candidates if file.is_file()), None)
    if file is None:
        if path.is_dir():
            return None
        raise DataError(f"{path}: no such file. Expected {DATA} of a YOLO dataset.")
    try:
        content = yaml.safe_load(file.read_bytes())
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(
            f"{file}: is not YAML ({first_line(error)}). Expected `names`, and optionally splits."
        ) from error
    if not isinstance(content, dict) or "names" not in content:
        raise DataError(f"{file}: has no `names`. Expected the names of the classes, in the order of their numbers.")
    return content


def _names_of(description: dict[str, Any], path: Path) -> tuple[str, ...]:
    names = description["names"]
    if isinstance(names, dict) and list(names) == list(range(len(names))):
        names = list(names.values())
    if not isinstance(names, list) or not all(isinstance(name, str) and is_plain(name) for name in names):
        raise DataError(
            f"{path}: `names` is {shown(names)}. Expected a list of strings, or a mapping from 0, 1, … to strings."
        )
    return tuple(names)


def _names(path: Path) -> tuple[str, ...]:
    file = next((file for file in (path / CLASSES, path.parent / CLASSES) if file.is_file()), None)
    if file is None:
        raise DataError(
            f"{path}: the names of the classes are missing. Expected {CLASSES} or {DATA} there or beside it."
        )
    names = [line.strip() for line in _text(file).splitlines()]
    while names and not names[-1]:
        names.pop()
    for number, name in enumerate(names, 1):
        if not is_plain(name):
            raise DataError(f"{file}:{number}: expected the name of a class on each line; received {name!r}")
    return tuple(names)


def _label_file(image: Path, name: str, labels: Path | None) -> Path:
    """Returns the label file: at the same path below `labels`, or with the last folder `images` renamed to `labels`."""
    if labels is not None:
        return labels / f"{name}.txt"
    parts = list(image.absolute().with_suffix(".txt").parts)
    last = max((index for index, part in enumerate(parts[:-1]) if part == "images"), default=None)
    if last is None:
        raise DataError(f"{image}: is in no folder `images`, beside which {DATA} expects `labels`. Give that folder.")
    parts[last] = "labels"
    return Path(*parts)


def _annotation(file: Path, image: Found, names: tuple[str, ...], problems: Problems) -> Annotation:
    shapes: list[tuple[float, Shape]] = []
    for number, line in enumerate(_text(file).splitlines() if file.is_file() else (), 1):
        with problems.collected():
            if words := line.split():
                polygon = _polygon(words, image, f"{file}:{number}")
                shapes.append((polygon.area, Shape(_name(words[0], names, f"{file}:{number}"), polygon)))
    ordered = sorted(shapes, key=lambda pair: -pair[0])
    return Annotation(image.name, image.height, image.width, tuple(shape for _, shape in ordered))


def _polygon(words: list[str], image: Found, where: str) -> Polygon:
    if len(words) == BOX:
        raise Invalid(f"{where}: has a box. Expected a polygon: class x1 y1 x2 y2 x3 y3 …")
    if len(words) % 2 == 0:
        message = f"pairs of x and y after the class; received {len(words) - 1} coordinates, an odd number"
        raise Invalid(f"{where}: expected {message}")
    try:
        numbers = np.array([float(word) for word in words[1:]])
    except ValueError as error:
        raise Invalid(f"{where}: expected numbers ({first_line(error)})") from error
    return Polygon((checked_ring(numbers.reshape(-1, 2) * (image.width, image.height), image, where),))


def _name(word: str, names: tuple[str, ...], where: str) -> str:
    if not word.isdecimal() or len(word) > BOX or int(word) >= len(names):
        raise Invalid(f"{where}: expected the number of a class, 0 to {len(names) - 1}; received {word[:20]!r}")
    return names[int(word)]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Invalid(f"{file}: cannot be read ({error.strerror}). Expected a text file.") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{file}: is not UTF-8 text. Expected the format of YOLO segmentation.") from error


def _splits(description: dict[str, Any] | None, path: Path, images: Images) -> dict[str, str] | None:
    """Returns the splits of `data.yaml`, if they are folders that contain all images."""
    folders = {
        PurePosixPath(str(entry)).as_posix(): split
        for key, split in SPLITS.items()
        for entry in _listed((description or {}).get(key))
    }
    splits = {}
    for name in images.files:
        matched = [split for folder, split in folders.items() if _is_below(images.files[name], folder)]
        splits[name] = matched[0] if len(matched) == 1 else ""
    counts = Counter(splits.values())
    return splits if counts["train"] and counts["val"] and not counts[""] else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_below(image: Path, folder: str) -> bool:
    """Returns whether the last folders of an image end with those of an entry, such as `../train/images`."""
    parts = [part for part in PurePosixPath(folder).parts if part not in ("..", ".", "/")]
    above = image.parent.absolute().parts
    return bool(parts) and any(list(above[index : index + len(parts)]) == parts for index in range(len(above)))
