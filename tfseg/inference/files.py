"""Expansion of files, folders and patterns to image files."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from tfseg.errors import DataError
from tfseg.images.suffixes import MORE_SUFFIXES, SUFFIXES

READABLE = (*SUFFIXES, *MORE_SUFFIXES)


def image_files(given: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Returns the image files of each path in order: a file itself, the images of a folder, or those of a pattern.

    A folder stands for its own images, without those of subfolders; `folder/**/*.jpg` includes them. Images of a folder
    or pattern are sorted by name; files with other suffixes and hidden files are skipped.

    Raises:
        DataError: If a path does not exist or is not a regular file, or a folder or pattern has no images.
    """
    return [file for each in given for file in _expanded(Path(each))]


def _expanded(path: Path) -> list[Path]:
    if path.is_dir():
        visible = [each for each in path.iterdir() if not each.name.startswith(".")]
        return _images(f"{path}: contains no images", visible)
    if not os.path.lexists(path) and glob.has_magic(str(path)):
        return _images(f"{path}: matches no images", map(Path, glob.iglob(str(path), recursive=True)))
    if not path.exists():
        raise DataError(f"{path}: no such image. Check the path.")
    if not path.is_file():
        raise DataError(f"{path}: is not a regular file. Expected an image, a folder of images, or a pattern.")
    return [path]


def _images(message: str, paths: Iterable[Path]) -> list[Path]:
    found = sorted(path for path in paths if path.suffix.lower() in READABLE and path.is_file())
    if not found:
        raise DataError(f"{message}. Expected files that end in {', '.join(READABLE)}; use `/**/*` for subfolders.")
    return found
