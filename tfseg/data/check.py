"""`tfseg data check`: what is wrong with the data, all of it, before a training finds the first of it."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfseg.data.dataset import Dataset
from tfseg.data.examples import Examples, Listing
from tfseg.data.masks import Ids
from tfseg.data.reading import Tensors, survey
from tfseg.errors import DataError


class Warned(str):
    """A finding on data that can be trained on nevertheless."""


def check(data: Dataset) -> tuple[str, ...]:
    """Everything that is wrong with the training and validation examples, each fault with its file.

    Reads every file: unreadable ones, pairs of different sizes, ids that are no class; then images without any labeled
    pixel, classes that no training mask has (`Warned`: a team that adds classes has them for a while), masks without an
    image (`Warned`), and pictures that are in both splits. Of sound files, why their `boxes` cannot be used.
    """
    found: list[str] = []
    listings: list[Listing] = []
    for split in data.used_splits:
        try:
            examples = data.examples(split)
        except DataError as error:
            found.append(str(error))
            continue
        listings.append(examples.listing)
        found += _split_faults(data, examples)
    found += _shared(listings)
    found += [Warned(told) for listing in listings for told in listing.passed_over]
    found = list(dict.fromkeys(found))
    return tuple(found if faults(found) else [*found, *_box_faults(data)])


def faults(found: Iterable[str]) -> list[str]:
    """Of what `check` has found, that on which nothing can be trained."""
    return [each for each in found if not isinstance(each, Warned)]


def _split_faults(data: Dataset, examples: Examples) -> Iterator[str]:
    split, ignore = examples.listing.split, data.labels.ignore
    total = np.zeros(data.labels.count + 1, np.int64)
    for name, (counts, fault) in zip(examples.listing.names, _surveyed(data, examples), strict=True):
        if counts is None:
            yield fault
            continue
        total += counts[0].numpy()
        if not counts[0].numpy()[:-1].any():
            yield f"{split}/{name}: no pixel has a class, all are {ignore} (ignore). Take the example out."
    if split == data.spec.train_split:
        yield from _absent(data, total)


def _surveyed(data: Dataset, examples: Examples) -> Iterator[tuple[Tensors | None, str]]:
    def load(index: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        _, mask, fault = examples.load(index)
        return (data.histogram(mask),), fault

    return survey(examples.count, load, examples.files)


def _absent(data: Dataset, total: np.ndarray) -> Iterator[str]:
    """Classes that a net cannot learn."""
    if not total.any():
        return
    absent = [name for name, pixels in zip(data.labels.names, total[:-1], strict=True) if not pixels]
    if absent:
        names = ", ".join(map(repr, absent))
        told = f"{data.spec.train_split}: no mask has the class {names}. Correct `labels` or the masks."
        mask = getattr(data.spec.source, "mask", None)
        two_values = data.labels.ignore == 255 and total[0] and total[-1] and not total[1:-1].any()
        hint = " If they are black and white, set `data.source.mask: binary`." if two_values else ""
        yield told + hint if hint and isinstance(mask, Ids) else Warned(told)


def _shared(listings: Sequence[Listing]) -> Iterator[str]:
    """Images whose very bytes are in more than one split."""
    sizes = defaultdict(list)
    for split, path in ((each.split, Path(files[0])) for each in listings for files in each.files if files):
        if path.is_file():
            sizes[path.stat().st_size].append((split, path))
    seen: dict[bytes, tuple[str, Path]] = {}
    for split, path in (item for group in sizes.values() if len({split for split, _ in group}) > 1 for item in group):
        other = seen.setdefault(hashlib.sha256(path.read_bytes()).digest(), (split, path))
        if other[0] != split:
            yield f"{path}: the same picture as {other[1]} of the split {other[0]}. Keep it in one split."


def _box_faults(data: Dataset) -> Iterator[str]:
    try:
        _ = data.training_examples
    except DataError as error:
        yield str(error)
