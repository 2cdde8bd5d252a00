"""Files, folders and patterns that a user names."""

import os
import re
from pathlib import Path

import pytest

from tfseg.errors import DataError
from tfseg.inference.files import READABLE, image_files

ENDINGS = f"Expected files that end in {', '.join(READABLE)}; below its folders with `/**/*`."


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "below/c.jpg", "below/deep/d.webp", "e[1].png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(folder: Path, *given: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in image_files(folder / each for each in given)]


def test_a_file_is_itself_whatever_its_suffix(photos: Path) -> None:
    assert names(photos, "notes.txt", "b.jpg", "e[1].png") == ["notes.txt", "b.jpg", "e[1].png"]


def test_a_folder_is_its_images_by_name(photos: Path) -> None:
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
def test_a_pattern_is_what_it_matches(photos: Path, pattern: str, found: list[str]) -> None:
    assert names(photos, pattern) == found


def test_names_that_are_no_text(photos: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(photos) + b"/\xff.png"))
    path.touch()
    assert path in image_files([photos])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("no.png", ": no such image. Check the path."),
        ("pipe.png", ": is no regular file. Expected an image, a folder of images, or a pattern."),
        ("empty", f": holds no image. {ENDINGS}"),
        ("*.gif", f": matches no image. {ENDINGS}"),
    ],
)
def test_what_is_not_there_is_named(photos: Path, given: str, told: str) -> None:
    (photos / "empty").mkdir()
    os.mkfifo(photos / "pipe.png")
    with pytest.raises(DataError, match=f"^{re.escape(f'{photos / given}{told}')}$"):
        image_files([photos / given])
