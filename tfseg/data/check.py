"""Validation of all training and validation examples, for `tfseg data check`."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfseg.data.dataset import Dataset
from tfseg.data.examples import Examples, Listing
from tfseg.data.reading import Tensors, survey
from tfseg.data.sources.masks import Ids
from tfseg.errors import DataError


class DataWarning(str):
    """Warning about data that can still be used for training."""


def check(data: Dataset) -> tuple[str, ...]:
    """Returns all problems of the training and validation examples, with their files.

    Reads every file. Errors are unreadable files, pairs of different sizes, ids of no class, images without labeled
    pixels, and images in both splits. Warnings (`DataWarning`) are classes without pixels in the training masks, since
    classes may be added before their masks, masks without an image, and images with unsupported suffixes. `boxes` and
    `sampling` are checked if there is no other error.
    """
    messages: list[str] = []
    listings: list[Listing] = []
    for split in data.used_splits:
        try:
            examples = data.examples(split)
        except DataError as error:
            messages.append(str(error))
            continue
        listings.append(examples.listing)
        messages += _split_problems(data, examples)
    messages += _shared(listings)
    messages += [DataWarning(message) for listing in listings for message in listing.skipped]
    messages = list(dict.fromkeys(messages))
    return tuple(messages if errors_in(messages) else [*messages, *_training_problems(data)])


def errors_in(messages: Iterable[str]) -> list[str]:
    """Returns the messages of `check` that are errors, not warnings."""
    return [each for each in messages if not isinstance(each, DataWarning)]


def _split_problems(data: Dataset, examples: Examples) -> Iterator[str]:
    split, ignore = examples.listing.split, data.labels.ignore
    total = np.zeros(data.labels.count + 1, np.int64)
    for name, (counts, problem) in zip(examples.listing.names, _surveyed(data, examples), strict=True):
        if counts is None:
            yield problem
            continue
        total += counts[0].numpy()
        if not counts[0].numpy()[:-1].any():
            yield f"{split}/{name}: all pixels have the ignore label {ignore}. Remove the example."
    if split == data.spec.train_split:
        yield from _absent(data, total)


def _surveyed(data: Dataset, examples: Examples) -> Iterator[tuple[Tensors | None, str]]:
    def load(index: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        _, mask, problem = examples.load(index)
        return (data.histogram(mask),), problem

    return survey(examples.count, load, examples.files)


def _absent(data: Dataset, total: np.ndarray) -> Iterator[str]:
    """Reports classes without pixels in the training masks."""
    if not total.any():
        return
    absent = [name for name, pixels in zip(data.labels.names, total[:-1], strict=True) if not pixels]
    if absent:
        names = ("the class " if len(absent) == 1 else "the classes ") + ", ".join(map(repr, absent))
        message = f"{data.spec.train_split}: no mask contains {names}. Correct `labels` or the masks."
        mask = getattr(data.spec.source, "mask", None)
        two_values = data.labels.ignore == 255 and total[0] and total[-1] and not total[1:-1].any()
        hint = " If they are black and white, set `data.source.mask: binary`." if two_values else ""
        yield message + hint if hint and isinstance(mask, Ids) else DataWarning(message)


def _shared(listings: Sequence[Listing]) -> Iterator[str]:
    """Reports images with identical files in more than one split."""
    sizes = defaultdict(list)
    for split, path in ((each.split, Path(files[0])) for each in listings for files in each.files if files):
        if path.is_file():
            sizes[path.stat().st_size].append((split, path))
    first: dict[bytes, tuple[str, Path]] = {}
    for split, path in (item for group in sizes.values() if len({split for split, _ in group}) > 1 for item in group):
        other = first.setdefault(hashlib.sha256(path.read_bytes()).digest(), (split, path))
        if other[0] != split:
            yield f"{path}: is identical to {other[1]} of the split {other[0]}. Keep the image in one split only."


def _training_problems(data: Dataset) -> Iterator[str]:
    try:
        _ = data.stream
    except DataError as error:
        yield str(error)
