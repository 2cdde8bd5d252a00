"""Several datasets with different classes as one data source."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

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
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of the dataset. An epoch has examples of the datasets in proportion to their weights."""
    labels: Labels | None = None
    """Classes of the masks of this dataset. Defaults to `labels` of the pipeline."""
    classes: dict[str, str | None] | None = None
    """Name in `labels` of the pipeline per class name of this dataset; null: ignored. Classes that are not listed keep
    their name, or are ignored if the pipeline has no class of this name."""

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

    def splits(self) -> tuple[str, ...]:
        """Returns the names of the splits of the dataset."""
        return self.source.splits(self.root)  # type: ignore[arg-type]  # `root` is set if the source needs it

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

    def listing(self, root: object, split: str) -> Listing:
        """Lists the examples of a split in all datasets that have it.

        Raises:
            DataError: If a file is missing or the split of a dataset is empty.
        """
        having = [index for index in range(len(self.sources)) if split in self._splits_of(index)]
        found = [self._listing_of(index, split) for index in having]
        names, files, skipped = ([each for part in parts for each in part] for parts in zip(*found, strict=True))
        return Listing(split, tuple(names), tuple(files), tuple(skipped))

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the examples of a listing, with the classes of the pipeline, to be loaded by index."""
        owners = _owners(listing.names)
        parts = []
        for index in sorted(set(owners)):
            chosen = [number for number, owner in enumerate(owners) if owner == index]
            names = tuple(listing.names[number].partition("/")[2] for number in chosen)
            part = Listing(listing.split, names, tuple(listing.files[number] for number in chosen))
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
        for index, (count, positions) in enumerate(zip(mixture.counts, mixture.positions, strict=True)):
            if count and not positions:
                raise DataError(
                    f"data.source.sources.{index}.weight: an epoch of {len(names)} examples has none of this dataset. "
                    f"Expected a larger weight. Received: {weights[index]:g} of {sum(weights):g}"
                )
        return mixture

    def _annotations(self, labels: Labels) -> tuple[tuple[bool, ...], ...]:
        return tuple(entry.annotates(labels) for entry in self.sources)

    def _splits_of(self, index: int) -> tuple[str, ...]:
        try:
            return self.sources[index].splits()
        except DataError as error:
            raise _located(error, index) from None

    def _listing_of(self, index: int, split: str) -> tuple[Sequence[str], Sequence[tuple[str, ...]], Sequence[str]]:
        """Returns names, files and warnings of the split of one dataset."""
        entry = self.sources[index]
        try:
            found = entry.source.listing(entry.root, split)  # type: ignore[arg-type]
        except DataError as error:
            raise _located(error, index) from None
        return [f"{index}/{name}" for name in found.names], found.files, found.skipped


def _owners(names: Sequence[str]) -> list[int]:
    """Returns the number of the dataset of each example, from its name."""
    return [int(name.partition("/")[0]) for name in names]


def _located(error: DataError, index: int) -> DataError:
    """Returns the error of a dataset, with the paths of its keys in `mix`."""
    where = f"data.source.sources.{index}"
    return DataError(str(error).replace("data.source", f"{where}.source").replace("data.root", f"{where}.root"))


def _no_class(name: str, where: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f'no class "{name}" {where}; expected one of: {", ".join(names)}{hint}'
