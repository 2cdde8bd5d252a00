"""Paths with `{split}`, `{name}` and `*` in them, and the files that they stand for."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from tfseg.errors import DataError
from tfseg.images.suffixes import SUFFIXES

_KNOWN = {"{split}": "(?P<split>[^/]+)", "{name}": "(?P<name>.+)", "*": "[^/]*"}


class Matches:
    """What a pattern stands for in one split; folders are walked once, and not before something asks.

    Args:
        root: the folder below which the pattern holds.
        pattern: the pattern.
        split: the split.
    """

    def __init__(self, root: Path, pattern: str, split: str) -> None:
        self.place = pattern.replace("{split}", split)
        self._root = root

    @cached_property
    def files(self) -> dict[str, Path]:
        """The images, by name.

        Raises:
            DataError: two files have one name, or something else than a file has the name of an image.
        """
        found = dict[str, Path]()
        for name, path in self._all:
            if path.suffix.lower() not in SUFFIXES:
                continue
            if not path.is_file():
                told = "a link that leads nowhere" if path.is_symlink() else "no file with content, such as a pipe"
                raise DataError(f"{path}: is {told}. Expected an image. Restore the file, or take it out.")
            if name in found:
                raise DataError(
                    f"{path}: has the name `{name}`, as has {found[name]}. Let `{self.place}` match one of them."
                )
            found[name] = path
        return found

    def unreadable(self, name: str | None = None) -> str:
        """What to say of files whose suffix is that of no image that can be read; nothing where there are none.

        Args:
            name: the only name to look for; by default every one.
        """
        counts = Counter(path.suffix.lower() for found, path in self._all if name in (None, found))
        others = {suffix or "no suffix": count for suffix, count in counts.items() if suffix not in SUFFIXES}
        if not others:
            return ""
        told = ", ".join(f"{count} with {suffix}" for suffix, count in sorted(others.items()))
        return f" Files of that name cannot be read: {told}. Convert them to PNG; readable are {', '.join(SUFFIXES)}."

    @cached_property
    def _all(self) -> list[tuple[str, Path]]:
        """Name and path of all that the pattern matches, whatever it is, by name."""
        shape = re.compile(_expression(self.place), re.DOTALL)
        below = ((path, path.relative_to(self._root).as_posix()) for path in _below(self._root / _fixed(self.place)))
        matches = [(match["name"], path) for path, text in below if (match := shape.fullmatch(text))]
        return sorted(matches, key=lambda match: match[0])


def splits(root: Path, pattern: str) -> set[str]:
    """What `{split}` may stand for: the entries that match the one part of the path that holds it."""
    before, _, after = pattern.partition("{split}")
    folder, _, head = before.rpartition("/")
    tail, goes_on, rest = after.partition("/")
    shape = re.compile(_expression(f"{head}{{split}}{tail}"), re.DOTALL)
    entries = (root / folder).iterdir() if (root / folder).is_dir() else ()
    return {
        match["split"]
        for entry in entries
        if (match := shape.fullmatch(entry.name)) and (not goes_on or (entry / _fixed(rest)).is_dir())
    }


def _below(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """All files below a folder, through links to folders too, but not through one that leads back up."""
    if not folder.is_dir():
        return
    identity = folder.stat()
    here = (identity.st_dev, identity.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _below(Path(entry.path), above | {here})
            else:
                yield Path(entry.path)


def _fixed(pattern: str) -> str:
    """The folders of a pattern before its first placeholder."""
    return re.split(r"[{*]", pattern)[0].rpartition("/")[0]


def _expression(pattern: str) -> str:
    """A pattern as a regular expression with the groups `split` and `name`."""
    parts = re.split(r"(\{split\}|\{name\}|\*)", pattern)
    return "".join(_KNOWN.get(part, re.escape(part)) for part in parts)
