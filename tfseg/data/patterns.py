"""Paths with `{split}`, `{name}` and `*` in them, and the files that they stand for."""

import re
from pathlib import Path

from tfseg.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".npy")

_KNOWN = {"{split}": "(?P<split>[^/]+)", "{name}": "(?P<name>.+)", "*": "[^/]*"}


def files(root: Path, pattern: str, split: str) -> dict[str, Path]:
    """The images that a pattern stands for in one split, by name.

    Raises:
        DataError: two files have one name.
    """
    pattern = pattern.replace("{split}", split)
    shape, found = re.compile(_expression(pattern)), dict[str, Path]()
    for path in sorted((root / _fixed(pattern)).rglob("*")):
        match = shape.fullmatch(path.relative_to(root).as_posix())
        if not match or path.suffix.lower() not in SUFFIXES:
            continue
        name = match["name"]
        if name in found:
            raise DataError(f"{path}: has the name `{name}`, as has {found[name]}. Let `{pattern}` match one of them.")
        found[name] = path
    return found


def splits(root: Path, pattern: str) -> set[str]:
    """What `{split}` may stand for: the entries that match the one part of the path that holds it."""
    before, _, after = pattern.partition("{split}")
    folder, _, head = before.rpartition("/")
    tail, goes_on, rest = after.partition("/")
    shape = re.compile(_expression(f"{head}{{split}}{tail}"))
    entries = (root / folder).iterdir() if (root / folder).is_dir() else ()
    return {
        match["split"]
        for entry in entries
        if (match := shape.fullmatch(entry.name)) and (not goes_on or (entry / _fixed(rest)).is_dir())
    }


def _fixed(pattern: str) -> str:
    """The folders of a pattern before its first placeholder."""
    return re.split(r"[{*]", pattern)[0].rpartition("/")[0]


def _expression(pattern: str) -> str:
    """A pattern as a regular expression with the groups `split` and `name`."""
    parts = re.split(r"(\{split\}|\{name\}|\*)", pattern)
    return "".join(_KNOWN.get(part, re.escape(part)) for part in parts)
