"""Base class of the sources of published datasets, whose files are in fixed folders."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tfseg.context import Context
from tfseg.data.examples import Examples, Listing, Source
from tfseg.data.sources.folder import Folder
from tfseg.data.sources.masks import Ids, Mask
from tfseg.data.sources.patterns import splits
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.spec.problems import FieldProblem

Layout = tuple[Path, Folder]
"""Folder of a dataset, and its patterns."""


class PublishedSource(Source):
    """Base class of the sources of published datasets. A subclass needs `type` and `layout`."""

    SPLITS: ClassVar[dict[str, str]] = {}
    """Name in the file system of each split that is called differently there."""

    @property
    def classes(self) -> int | None:
        """Number of classes to which the raw ids are mapped; None if the masks contain the ids of `labels`."""
        return None

    def layout(self, root: Path) -> Layout:
        """Finds the folder of the dataset and its patterns.

        Raises:
            DataError: If `root` does not have the layout.
        """
        raise NotImplementedError

    def encoding(self, labels: Labels) -> Mask:
        """Returns the encoding of classes in the masks."""
        return Ids()

    def splits(self, root: Path) -> tuple[str, ...]:
        """Returns the names of the splits in `root`."""
        home, layout = self.layout(root)
        names = {folder: split for split, folder in self.SPLITS.items()}
        return tuple(sorted(names.get(folder, folder) for folder in layout.splits(home)))

    def listing(self, root: Path, split: str) -> Listing:
        """Lists the examples of a split."""
        home, layout = self.layout(root)
        return replace(layout.listing(home, self.SPLITS.get(split, split)), split=split)

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the examples of a listing, to be loaded by index."""
        return Folder(mask=self.encoding(labels)).examples(listing, labels)

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields a problem if the number of classes differs from that of the labels."""
        if self.classes not in (None, context.labels.count):
            yield (
                ("type",),
                f"the masks of {self.type} are mapped to {self.classes} classes, but `labels` has "
                f"{context.labels.count}. Correct `labels`, or read other classes with `type: folder` and `mask`",
            )


def existing(root: Path, layouts: Iterable[Layout], expected: str) -> Layout:
    """Returns the first of several layouts of which there is at least one split.

    Args:
        root: Folder of the user, for the error message.
        layouts: Layouts, in order of preference.
        expected: Expected folders and files, for the error message.

    Raises:
        DataError: If there is none.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Correct `data.root`, or put the data there.")
    for home, layout in layouts:
        if splits(home, layout.images) & splits(home, layout.masks):
            return home, layout
    raise DataError(f"{root}: has another layout. Expected {expected}. Correct `data.root`, or put the data there.")
