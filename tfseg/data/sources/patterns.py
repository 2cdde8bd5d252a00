"""Path patterns with `{split}`, `{name}` and `*`, and the files that match them."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from tfseg.errors import DataError
from tfseg.images.suffixes import RASTER_SUFFIXES, SUFFIXES

_KNOWN = {"{split}": "(?P<split>[^/]+)", "{name}": "(?P<name>.+)", "*": "[^/]*"}
_CONVERT = (
    "Convert TIFF and WebP files, of any number of bands, with `tfseg data convert FILE --to tfrecord` (TIFF needs pip "
    "install 'tfseg[raster]'), others to PNG"
)


class Matches:
    """Files that match a pattern in one split. Folders are walked once, on first use.

    Args:
        root: Folder to which the pattern is relative.
        pattern: Path pattern.
        split: Name of the split.
        suffixes: Suffixes of the files. Defaults to those of the images that training reads.
    """

    def __init__(self, root: Path, pattern: str, split: str, suffixes: tuple[str, ...] = SUFFIXES) -> None:
        self.pattern = pattern.replace("{split}", split)
        self._root, self._suffixes = root, suffixes

    @cached_property
    def files(self) -> dict[str, Path]:
        """Image files by name.

        Raises:
            DataError: If two files have the same name, a match with an image suffix is not a regular file, or a folder
                cannot be read.
        """
        files = dict[str, Path]()
        for name, path in self._all:
            if path.suffix.lower() not in self._suffixes:
                continue
            if not path.is_file():
                kind = "a broken symbolic link" if path.is_symlink() else "not a regular file, such as a pipe"
                raise DataError(f"{path}: is {kind}. Expected an image. Restore the file, or remove it.")
            if name in files:
                raise DataError(
                    f"{path}: has the same name `{name}` as {files[name]}. Expected `{self.pattern}` to match only one "
                    "of them."
                )
            files[name] = path
        return files

    @property
    def suffixes(self) -> set[str]:
        """Suffixes of all matches, in lower case."""
        return {path.suffix.lower() for _, path in self._all}

    def unsupported(self, name: str | None = None, *, records: bool = False) -> str:
        """Returns sentences about matching files with unsupported suffixes, or an empty string if there are none.

        Args:
            name: Name to restrict the search to. Defaults to all names.
            records: Boolean, whether TIFF and WebP files can be converted to TFRecord files, as images can.
        """
        counts = Counter(path.suffix.lower() for match, path in self._all if name in (None, match))
        others = {suffix or "no suffix": count for suffix, count in counts.items() if suffix not in self._suffixes}
        if not others:
            return ""
        listed = ", ".join(f"{count} with {suffix}" for suffix, count in sorted(others.items()))
        advice = _CONVERT if records and others.keys() & set(RASTER_SUFFIXES) else "Convert them to PNG"
        return f" Matches with unsupported suffixes: {listed}. {advice}; supported are {', '.join(SUFFIXES)}."

    @cached_property
    def _all(self) -> list[tuple[str, Path]]:
        """Name and path of all matches, with any suffix, sorted by name."""
        regex = re.compile(_expression(self.pattern), re.DOTALL)
        below = ((path, path.relative_to(self._root).as_posix()) for path in _below(self._root / _fixed(self.pattern)))
        try:
            matches = [(match["name"], path) for path, text in below if (match := regex.fullmatch(text))]
        except OSError as error:  # a folder without permission, or a link to itself
            raise DataError(
                f"{error.filename}: cannot be read ({error.strerror}). Expected a readable file or folder. Restore it, "
                "or remove it."
            ) from error
        return sorted(matches, key=lambda match: match[0])


def splits(root: Path, pattern: str) -> set[str]:
    """Returns the values of `{split}` in the names of files or folders that match its component of the pattern."""
    before, _, after = pattern.partition("{split}")
    folder, _, head = before.rpartition("/")
    tail, separator, rest = after.partition("/")
    regex = re.compile(_expression(f"{head}{{split}}{tail}"), re.DOTALL)
    entries = (root / folder).iterdir() if (root / folder).is_dir() else ()
    return {
        match["split"]
        for entry in entries
        if (match := regex.fullmatch(entry.name)) and (not separator or (entry / _fixed(rest)).is_dir())
    }


def _below(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """Yields all files below a folder. Symbolic links to folders are followed, except in cycles."""
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
    """Returns the folders of a pattern before its first placeholder."""
    return re.split(r"[{*]", pattern)[0].rpartition("/")[0]


def _expression(pattern: str) -> str:
    """Converts a pattern to a regular expression with the groups `split` and `name`."""
    parts = re.split(r"(\{split\}|\{name\}|\*)", pattern)
    return "".join(_KNOWN.get(part, re.escape(part)) for part in parts)
