"""Expansion of files, folders and patterns to image files."""

import os
import re
from pathlib import Path

import pytest

from tfseg.errors import DataError
from tfseg.inference.files import READABLE, image_files

ENDINGS = f". Expected files that end in {', '.join(READABLE)}; use `/**/*` for subfolders."


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "below/c.jpg", "below/deep/d.webp", "e[1].png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(folder: Path, *given: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in image_files(folder / each for each in given)]


def test_file_with_any_suffix(photos: Path) -> None:
    assert names(photos, "notes.txt", "b.jpg", "e[1].png") == ["notes.txt", "b.jpg", "e[1].png"]


def test_images_of_a_folder_are_sorted_by_name(photos: Path) -> None:
    assert names(photos, "", "below") == ["a.PNG", "b.jpg", "e[1].png", "below/c.jpg"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.jpg", ["b.jpg"]),
        ("?.*", ["a.PNG", "b.jpg"]),
        ("*/*", ["below/c.jpg"]),
        ("**/*", ["a.PNG", "b.jpg", "below/c.jpg", "below/deep/d.webp", "e[1].png"]),
        ("[bc].jpg", ["b.jpg"]),
    ],
)
def test_pattern(photos: Path, pattern: str, found: list[str]) -> None:
    assert names(photos, pattern) == found


def test_undecodable_names(photos: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(photos) + b"/\xff.png"))
    path.touch()
    assert path in image_files([photos])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("no.png", ": no such image. Check the path."),
        ("pipe.png", ": is not a regular file. Expected an image, a folder of images, or a pattern."),
        ("empty", f": contains no images{ENDINGS}"),
        ("*.gif", f": matches no images{ENDINGS}"),
    ],
)
def test_paths_without_images(photos: Path, given: str, message: str) -> None:
    (photos / "empty").mkdir()
    os.mkfifo(photos / "pipe.png")
    with pytest.raises(DataError, match=f"^{re.escape(f'{photos / given}{message}')}$"):
        image_files([photos / given])
