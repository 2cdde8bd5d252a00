"""Sharded files: the files that match a pattern, by split, and their completeness."""

import glob
import re
from pathlib import Path

from tfseg.errors import DataError

_NUMBERS = re.compile(r"-(\d+)-of-(\d+)")
_SHOWN = 3
_STARS = (r"(?:\d+-of-\d+)?", "[^/]*")
"""Meanings of `*`, in order of preference: the number of a shard and the number of shards, or any text."""


def shards(root: Path, pattern: str) -> dict[str, list[Path]]:
    """Finds the files that match a pattern with `{split}` and `*`, sorted, by split.

    In a name that contains the number of a shard and the number of shards, such as `train-extra-00000-of-00004`, `*` is
    these two numbers, so that the split is `train-extra`. In other names, the split is as short as possible.

    Raises:
        DataError: If a shard is missing, or a split has shards of two numberings.
    """
    parts = re.split(r"(\{split\}|\*)", pattern)
    found = dict[str, list[Path]]()
    wanted = "".join("*" if part in ("{split}", "*") else glob.escape(part) for part in parts)
    for name in sorted(glob.glob(wanted, root_dir=root)):
        matches = (_expression(parts, star).fullmatch(name) for star in _STARS)
        match = next((match for match in matches if match), None)
        if match is not None and not (root / name).is_dir():
            found.setdefault(match["split"], []).append(root / name)
    for split, files in found.items():
        _check_complete(root, split, files)
    return found


def _expression(parts: list[str], star: str) -> re.Pattern[str]:
    """Converts the parts of a pattern to a regular expression with the group `split`."""
    known = {"{split}": "(?P<split>[^/]+?)", "*": star}
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts), re.DOTALL)


def _check_complete(root: Path, split: str, files: list[Path]) -> None:
    """Raises DataError unless the numbered files of a split are all files of one numbering, each once."""
    numbered = [match for file in files if (match := _NUMBERS.search(file.name))]
    counts = sorted({int(match[2]) for match in numbered})
    if len(counts) > 1:
        raise DataError(
            f"{root}: the split `{split}` has files of two numberings, of {counts[0]} and of {counts[1]} shards. "
            "Remove those of one, or tell them apart by `data.source.pattern`."
        )
    absent = sorted(set(range(counts[0] if counts else 0)) - {int(match[1]) for match in numbered})
    if absent:
        shown = ", ".join(map(str, absent[:_SHOWN])) + (", ..." if len(absent) > _SHOWN else "")
        raise DataError(
            f"{root}: the split `{split}` lacks {len(absent)} of its {counts[0]} shards: {shown} (numbered from 0). "
            "Restore the files, or finish writing them."
        )
