"""Which image files a user means by files, folders and wildcards."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from tfseg.errors import DataError
from tfseg.images.suffixes import MORE_SUFFIXES, SUFFIXES

READABLE = (*SUFFIXES, *MORE_SUFFIXES)


def image_files(given: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The images of each given path, in its place: a file, all images of a folder, or what wildcards match.

    A folder stands for the images that lie in it, not below its own folders; `folder/**/*.jpg` goes below. Both are
    taken in the order of their names. What is no image by its suffix, or hidden, is passed over there.

    Raises:
        DataError: a path is missing or no regular file, or a folder or pattern has no images.
    """
    return [file for each in given for file in _meant(Path(each))]


def _meant(path: Path) -> list[Path]:
    if path.is_dir():
        return _some(f"{path}: holds no image", [each for each in path.iterdir() if not each.name.startswith(".")])
    if not os.path.lexists(path) and glob.has_magic(str(path)):
        return _some(f"{path}: matches no image", map(Path, glob.iglob(str(path), recursive=True)))
    if not path.exists():
        raise DataError(f"{path}: no such image. Check the path.")
    if not path.is_file():
        raise DataError(f"{path}: is no regular file. Expected an image, a folder of images, or a pattern.")
    return [path]


def _some(nothing: str, paths: Iterable[Path]) -> list[Path]:
    found = sorted(path for path in paths if path.suffix.lower() in READABLE and path.is_file())
    if not found:
        raise DataError(f"{nothing}. Expected files that end in {', '.join(READABLE)}; below its folders with `/**/*`.")
    return found
