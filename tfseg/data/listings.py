"""The splits below a folder and the examples of each, looked for once."""

import difflib
from functools import cached_property
from pathlib import Path

from tfseg.data.examples import Listing, Source
from tfseg.errors import DataError


class Listings:
    """What a source finds.

    Args:
        source: what looks.
        root: the folder that it looks into; None for a source that reads no files.
    """

    def __init__(self, source: Source, root: Path | None) -> None:
        self._source, self._root = source, root
        self._found: dict[str, Listing] = {}

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are; a DataError where nothing can be found."""
        if self._root is None and self._source.NEEDS_ROOT:
            raise DataError(
                f"data.root: the source {self._source.type} reads files; expected the folder where they lie; "
                "received none. Add it to the file, or data.root=FOLDER to the command"
            )
        return self._source.splits(self._root)  # type: ignore[arg-type]  # the root is there where the source needs it

    def of(self, split: str) -> Listing:
        """The examples of a split; a DataError where there is none, or something is missing."""
        if message := self.unknown(split):
            raise DataError(f"{self._root}: {message}" if self._root else message)
        if split not in self._found:
            self._found[split] = self._source.listing(self._root, split)  # type: ignore[arg-type]
        return self._found[split]

    def unknown(self, split: str) -> str | None:
        """Why there is no such split, if there is none."""
        if split in self.splits:
            return None
        near = difflib.get_close_matches(split, self.splits, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        return f'no split "{split}"; expected one of: {", ".join(self.splits)}{hint}'
