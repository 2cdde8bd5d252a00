"""Images of a folder, found by the file names in annotations."""

import os
import warnings
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from PIL import Image

from tfseg.data.convert.annotation import Invalid
from tfseg.data.sources.patterns import Matches
from tfseg.errors import DataError, first_line
from tfseg.images import is_supported
from tfseg.images.npy import MAGIC
from tfseg.images.npy_file import read_header
from tfseg.images.suffixes import SUFFIXES

PATTERN = "{name}.*"
"""Path pattern of images, relative to their folder."""
ORIENTATION, TRANSPOSED = 0x0112, 5
"""EXIF tag of the orientation, and its first value that exchanges width and height."""
BEGINNING = 16
"""Number of bytes that identify the format of an image."""


class Found(NamedTuple):
    """An image of a folder.

    Args:
        name: Path below the folder, without suffix.
        path: Path of the file.
        height: Height in pixels, after the rotation by EXIF.
        width: Width in pixels.
    """

    name: str
    path: Path
    height: int
    width: int


class Images:
    """Images below a folder, with the suffixes that training reads.

    Args:
        folder: Path of the folder.
        besides: Folder whose files are no images, such as the masks of an earlier conversion. Optional.

    Raises:
        DataError: If there is no such folder, or two images have the same name.
    """

    def __init__(self, folder: Path, besides: Path | None = None) -> None:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder. Expected the folder of the annotated images (--images).")
        self.folder = folder
        files = Matches(folder, PATTERN, "").files
        inside = besides is not None and besides.resolve().is_relative_to(folder.resolve())
        prefix = (
            f"{os.path.relpath(os.path.realpath(besides), os.path.realpath(folder))}/" if inside and besides else "/"
        )
        self.files = {name: path for name, path in files.items() if not name.startswith(prefix)}
        self._names = {path.relative_to(folder).as_posix(): name for name, path in self.files.items()}
        self._by_base = defaultdict(list)
        for path in self._names:
            self._by_base[PurePosixPath(path).name].append(path)

    def __contains__(self, file_name: str) -> bool:
        return file_name in self._names or file_name in self._by_base

    def find(self, file_name: str, where: str) -> Found:
        """Returns the image of a file name in an annotation.

        The name is a path below the folder or, if there is no such file, the name of one file below the folder in any
        subfolder.

        Args:
            file_name: Path of the image in the annotation; its folders may be those of another machine.
            where: Location in the annotations, for error messages.

        Raises:
            Invalid: If there is no such image, or several.
        """
        path = PurePosixPath(file_name.replace("\\", "/"))
        if (own := path.as_posix()) in self._names:
            return self.sized(self._names[own], where)
        candidates = self._by_base.get(path.name, [])
        if len(candidates) == 1:
            return self.sized(self._names[candidates[0]], where)
        if candidates:
            message = f"matches {candidates[0]} and {candidates[1]}. Expected the path below {self.folder}."
            raise Invalid(f"{where}: the image {file_name!r} {message}")
        raise Invalid(f"{where}: no image {file_name!r} in {self.folder}. {self._advice(path)}")

    def sized(self, name: str, where: str) -> Found:
        """Returns an image by its name, with its size.

        Raises:
            Invalid: If the file is not an image.
        """
        path = self.files[name]
        try:
            return Found(name, path, *image_size(path))
        except Exception as error:  # Pillow raises exceptions of all kinds for damaged metadata
            message = f"is not an image that can be read ({first_line(error)}). Restore the file."
            raise Invalid(f"{where}: {path} {message}") from error

    def _advice(self, path: PurePosixPath) -> str:
        if path.suffix.lower() not in SUFFIXES:
            return f"Convert the images to PNG; supported are {', '.join(SUFFIXES)}."
        return "Correct --images, or add the image."


def image_size(path: Path) -> tuple[int, int]:
    """Returns height and width of an image, from its header, after the rotation by EXIF of a JPEG."""
    with open(path, "rb") as file:
        head = file.read(BEGINNING)
        if head.startswith(MAGIC) or (path.suffix.lower() == ".npy" and not is_supported(head)):
            file.seek(0)
            return _array_size(file)
    with warnings.catch_warnings(action="ignore"), Image.open(path) as image:  # of large images
        width, height = image.size
        transposed = image.format == "JPEG" and image.getexif().get(ORIENTATION, 1) >= TRANSPOSED
    return (width, height) if transposed else (height, width)


def _array_size(file: BinaryIO) -> tuple[int, int]:
    shape = read_header(file).shape
    if len(shape) < 2 or not all(shape):
        raise ValueError(f"an array of shape {list(shape)}")
    return shape[0], shape[1]
