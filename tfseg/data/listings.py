"""Cached splits and listings of a source."""

import difflib
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path

from tfseg.data.examples import Listing, Source
from tfseg.errors import DataError


class Listings:
    """Splits and listings of a source, each computed once.

    Args:
        source: Data source.
        root: Folder of the dataset; None for a source that reads no files.
        skipped: Names of the examples of a split to leave out.
    """

    def __init__(self, source: Source, root: Path | None, skipped: Mapping[str, Collection[str]] | None = None) -> None:
        self._source, self._root, self._skipped = source, root, skipped or {}
        self._cached: dict[str, Listing] = {}

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Names of the available splits.

        Raises:
            DataError: If there are none, or the source needs a `root` and has none.
        """
        if self._root is None and self._source.NEEDS_ROOT:
            raise DataError(
                f"data.root: the source {self._source.type} reads files; expected the folder of the dataset; "
                "received none. Set it in the file, or add data.root=FOLDER to the command"
            )
        return self._source.splits(self._root)  # type: ignore[arg-type]  # `root` is set if the source needs it

    def of(self, split: str) -> Listing:
        """Returns the listing of a split, without the skipped examples.

        Raises:
            DataError: If the split does not exist, is empty, or a file is missing.
        """
        listing, left_out = self.complete(split), frozenset(self._skipped.get(split, ()))
        return without(listing, left_out) if left_out else listing

    def complete(self, split: str) -> Listing:
        """Returns the listing of a split, with the skipped examples."""
        if message := self.unknown(split):
            raise DataError(f"{self._root}: {message}" if self._root else message)
        if split not in self._cached:
            self._cached[split] = self._source.listing(self._root, split)  # type: ignore[arg-type]
        return self._cached[split]

    def unknown(self, split: str) -> str | None:
        """Returns an error message if the split does not exist, otherwise None."""
        if split in self.splits:
            return None
        near = difflib.get_close_matches(split, self.splits, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        return f'no split "{split}"; expected one of: {", ".join(self.splits)}{hint}'


def without(listing: Listing, names: Collection[str]) -> Listing:
    """Returns a listing without the examples called `names`, in the same order."""
    return listing.chosen([number for number, name in enumerate(listing.names) if name not in names])
