"""Several datasets with different classes as one data source."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal, Self, cast

import numpy as np
from pydantic import Field, model_validator

from tfseg.context import Context
from tfseg.data.examples import Examples, Listing, Source, source_problems
from tfseg.data.mixture import Mixture
from tfseg.data.sources.class_map import class_map, joined, with_classes
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.spec.declare import Location, spec
from tfseg.spec.nesting import Inner
from tfseg.spec.problems import FieldProblem, InvalidFields, prefixed

INNER = Inner("source")
"""Mark of a source inside `mix`: the same choices as in `data.source`."""
_UNMIXABLE = ("mix", "python")


@spec
class MixedSource:
    """One dataset of a mixed dataset: source, folder, weight, and how its classes become those of the pipeline."""

    source: Annotated[Source, INNER]
    """Data source; neither `mix` nor `python`."""
    root: Location | None = None
    """Folder of the dataset; null for `shapes`."""
    weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Weight of the dataset. An epoch has examples of the datasets in proportion to their weights; 0: none."""
    labels: Labels | None = None
    """Classes of the masks of this dataset. Defaults to `labels` of the pipeline."""
    classes: dict[str, str | None] | None = None
    """Name in `labels` of the pipeline per class name of this dataset; null: ignored. Classes that are not listed keep
    their name, or are ignored if the pipeline has no class of this name."""
    splits: dict[str, str] | None = None
    """Name of the split in this dataset per split of the mixed dataset, such as `train: train_aug`. Splits that are not
    listed keep their name."""

    def own_labels(self, labels: Labels) -> Labels:
        """Returns the classes of the masks, for the labels of the pipeline."""
        return self.labels or labels

    def renamed(self, name: str) -> str | None:
        """Returns the name in the pipeline of a class of this dataset, which the pipeline may lack."""
        return (self.classes or {}).get(name, name)

    def annotates(self, labels: Labels) -> tuple[bool, ...]:
        """Returns which classes of the pipeline a class of this dataset becomes."""
        names = {self.renamed(name) for name in self.own_labels(labels).names}
        return tuple(name in names for name in labels.names)

    def own_splits(self) -> dict[str, str]:
        """Returns the name of the split in this dataset per split of the mixed dataset.

        Raises:
            DataError: If `splits` names one that does not exist.
        """
        found = self.source.splits(self.root)  # type: ignore[arg-type]  # `root` is set if the source needs it
        renamed = self.splits or {}
        for ours, theirs in renamed.items():
            if theirs not in found:
                raise DataError(
                    f"data.splits.{ours}: no split {theirs!r} in this dataset. Expected one of: {', '.join(found)}"
                )
        kept = {split: split for split in found if split not in renamed and split not in renamed.values()}
        return {**kept, **renamed}

    def listing(self, split: str) -> Listing:
        """Lists the examples of a split of the mixed dataset."""
        return self.source.listing(self.root, self.own_splits()[split])  # type: ignore[arg-type]

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities with the labels of the pipeline, as pairs `(path, message)`."""
        own = self.own_labels(context.labels)
        yield from prefixed("source", source_problems(self.source, replace(context, labels=own)))
        for theirs, ours in (self.classes or {}).items():
            if theirs not in own.names:
                yield ("classes", theirs), _no_class(theirs, "of this dataset", own.names)
            elif ours is not None and ours not in context.labels.names:
                yield ("classes", theirs), _no_class(ours, "in `labels` of the pipeline", context.labels.names)
        if not any(self.annotates(context.labels)):
            example = f"{{{own.names[0]}: {context.labels.names[0]}}}"
            yield (
                ("classes",),
                f"no class of this dataset has the name of a class of the pipeline, so that all its pixels would be "
                f"ignored; expected a mapping, such as {example}",
            )


@spec
class Mix(Source):
    """Several datasets with weights, whose classes may differ. Their examples are named `0/…`, `1/…`, and so on."""

    type: Literal["mix"] = "mix"
    NEEDS_ROOT: ClassVar[bool] = False
    sources: Annotated[tuple[MixedSource, ...], Field(min_length=1, max_length=128)]
    """Datasets."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if problems := [problem for index in range(len(self.sources)) for problem in self._entry_problems(index)]:
            raise InvalidFields(*problems)
        if not any(entry.weight for entry in self.sources):
            raise InvalidFields((("sources",), "expected at least one dataset with a weight above 0"))
        return self

    def _entry_problems(self, index: int) -> Iterator[FieldProblem]:
        entry, where = self.sources[index], ("sources", index)
        kind = entry.source.type
        if kind in _UNMIXABLE:
            yield (*where, "source"), f"expected a source of files or scenes; received {kind}"
        elif entry.source.NEEDS_ROOT and entry.root is None:
            yield (*where, "root"), f"the source {kind} reads files; expected the folder of the dataset; received none"
        elif not entry.source.NEEDS_ROOT and entry.root is not None:
            yield (*where, "root"), f'the source {kind} reads no files; expected none; received "{entry.root}"'
        elif entry.source.channels != self.channels:
            message = f"expected images of {self.channels} channels, as in the first dataset"
            yield (*where, "source"), f"{message}; received {entry.source.channels}"

    @property
    def channels(self) -> int:  # type: ignore[override]  # those of the datasets
        """Number of channels of the images."""
        return self.sources[0].source.channels

    @property
    def READABLE(self) -> bool:  # type: ignore[override]  # depends on the folders
        """True if the folders of all datasets exist."""
        return all(entry.root is None or entry.root.is_dir() for entry in self.sources)

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities with the labels, as pairs `(path, message)`."""
        for index, entry in enumerate(self.sources):
            yield from prefixed(("sources", index), entry.problems(context))
        anywhere = [any(each) for each in zip(*self._annotations(context.labels), strict=True)]
        if any(anywhere) and not all(anywhere):
            names = [name for name, known in zip(context.labels.names, anywhere, strict=True) if not known]
            received = ", ".join(map(repr, names))
            yield ("sources",), f"expected a dataset that annotates every class of `labels`; none annotates {received}"

    def splits(self, root: object = None) -> tuple[str, ...]:
        """Returns the names of all splits; each exists in at least one of the datasets."""
        return tuple(dict.fromkeys(split for index in range(len(self.sources)) for split in self._splits_of(index)))

    def listing(self, root: object, split: str) -> "MixedListing":
        """Lists the examples of a split in all datasets that have it.

        Raises:
            DataError: If a file is missing or the split of a dataset is empty.
        """
        having = [index for index in range(len(self.sources)) if split in self._splits_of(index)]
        found = _mixed(split, {index: self._listing_of(index, split) for index in having})
        return replace(found, skipped=(*found.skipped, *self._without_split(split, having)))

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the examples of a listing, with the classes of the pipeline, to be loaded by index."""
        parts = []
        for index, part in cast(MixedListing, listing).parts.items():
            entry = self.sources[index]
            own = entry.own_labels(labels)
            table = class_map(own, labels, entry.renamed)
            parts.append(with_classes(entry.source.examples(part, own), table, labels.ignore))
        return joined(listing, parts)

    def mixture(self, names: tuple[str, ...], labels: Labels) -> Mixture:
        """Returns the datasets of the training examples with the given names.

        Raises:
            DataError: If the weight of a dataset is so small that an epoch has none of its examples.
        """
        annotated = self._annotations(labels)
        plain = all(map(all, annotated))
        weights = tuple(entry.weight for entry in self.sources)
        mixture = Mixture(np.array(_owners(names), np.int64), weights, None if plain else annotated)
        for index, count in enumerate(mixture.counts):
            if weights[index] and not count:
                raise DataError(
                    f"data.source.sources.{index}: has no example in the training split; its splits are "
                    f"{', '.join(self._splits_of(index))}. Expected the training split: name it, for example splits: "
                    "{train: train_aug}, or set weight: 0 for a dataset that is only validated."
                )
        for index, positions in enumerate(mixture.positions):
            if weights[index] and not positions:
                raise DataError(
                    f"data.source.sources.{index}.weight: an epoch of {len(names)} examples has none of this dataset. "
                    f"Expected a larger weight. Received: {weights[index]:g} of {sum(weights):g}"
                )
        return mixture

    def _annotations(self, labels: Labels) -> tuple[tuple[bool, ...], ...]:
        return tuple(entry.annotates(labels) for entry in self.sources)

    def _splits_of(self, index: int) -> tuple[str, ...]:
        try:
            return tuple(self.sources[index].own_splits())
        except DataError as error:
            raise _located(error, index) from None

    def _without_split(self, split: str, having: Sequence[int]) -> Iterator[str]:
        """Yields a warning for each dataset that does not have a split."""
        for index in range(len(self.sources)):
            if index not in having:
                splits = ", ".join(self._splits_of(index))
                yield (
                    f"data.source.sources.{index}: the dataset has no split `{split}`, so that no example of it is "
                    f"used. It has the splits {splits}; `splits` gives them other names"
                )

    def _listing_of(self, index: int, split: str) -> Listing:
        """Returns the listing of the split of one dataset."""
        entry = self.sources[index]
        try:
            return entry.listing(split)
        except DataError as error:
            raise _located(error, index) from None


@dataclass(frozen=True)
class MixedListing(Listing):
    """Examples of several datasets, one dataset after the other.

    Args:
        parts: Listing of each dataset that has examples, by its number.
    """

    parts: Mapping[int, Listing] = field(default_factory=dict, compare=False)

    def chosen(self, numbers: Sequence[int]) -> "MixedListing":
        """Returns a listing of the examples with the given numbers, which are ascending."""
        parts, start = {}, 0
        for index, part in self.parts.items():
            end = start + len(part.names)
            parts[index] = part.chosen([number - start for number in numbers if start <= number < end])
            start = end
        return replace(_mixed(self.split, parts), skipped=self.skipped)


def _mixed(split: str, parts: Mapping[int, Listing]) -> MixedListing:
    """Joins the listings of datasets, whose examples are named after the number of the dataset."""
    names = tuple(f"{index}/{name}" for index, part in parts.items() for name in part.names)
    files = tuple(files for part in parts.values() for files in part.files)
    skipped = tuple(warning for part in parts.values() for warning in part.skipped)
    used = {index: part for index, part in parts.items() if part.names}
    return MixedListing(split, names, files, skipped, parts=used)


def _owners(names: Sequence[str]) -> list[int]:
    """Returns the number of the dataset of each example, from its name."""
    return [int(name.partition("/")[0]) for name in names]


def _located(error: DataError, index: int) -> DataError:
    """Returns the error of a dataset, with the paths of its keys in `mix`; parts of file names are no keys."""
    where = f"data.source.sources.{index}"
    return DataError(re.sub(r"(?<![\w/.])data\.(source|root|splits)(?![\w/])", rf"{where}.\1", str(error)))


def _no_class(name: str, where: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f'no class "{name}" {where}; expected one of: {", ".join(names)}{hint}'
