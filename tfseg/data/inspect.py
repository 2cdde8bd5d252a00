"""Looking at data before training on them: what is wrong, what is in there, how fast it comes."""

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.data.dataset import Data, PixelCounts, arrays, histogram, summed
from tfseg.data.examples import Examples
from tfseg.data.folder import Folder
from tfseg.data.masks import Ids
from tfseg.data.reading import FIXED, PARALLEL, Tensors, explained, read, survey
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.losses.balance import balanced

BENCH_IMAGES = 200
WARM_UP = 16


class Warned(str):
    """A finding on data that can be trained on nevertheless."""


def check(data: Data, labels: Labels) -> tuple[str, ...]:
    """Everything that is wrong with the training and validation examples, each fault with its file.

    Reads every file: unreadable ones, pairs of different sizes, ids that are no class; then images without any labelled
    pixel, classes that no training mask has (`Warned`: a team that adds classes has them for a while), masks without an
    image (`Warned`), and pictures that are in both splits. Of sound files, why their `boxes` cannot be used.
    """
    splits = tuple(dict.fromkeys((data.train_split, data.validation_split)))
    found = tuple(fault for split in splits for fault in _split_faults(data, labels, split)) + _shared(data, splits)
    found = tuple(dict.fromkeys((*found, *_passed_over(data, splits))))
    return found if faults(found) else found + _box_faults(data, labels)


def faults(found: Iterable[str]) -> list[str]:
    """Of what `check` has found, that on which nothing can be trained."""
    return [each for each in found if not isinstance(each, Warned)]


def statistics(data: Data, labels: Labels) -> dict[str, dict[str, Any]]:
    """Figures of the training and the validation split, by split, as plain values.

    `images`; `sizes`: images of each `width x height`; `pixels` and `images_with`: of each class; `ignored`: pixels;
    `mean` and `deviation` of each channel, 0..1; `median_frequency_weights` of each class that occurs (SegNet, section
    3.2: the median of all frequencies over the class's own, which is its pixels over those of the images that have it).
    """
    return {split: _figures(data, labels, split) for split in dict.fromkeys((data.train_split, data.validation_split))}


def bench(data: Data, labels: Labels, images: int = BENCH_IMAGES) -> dict[str, float]:
    """Images per second of the training input up to each stage: `read`, `decode`, `augment`, `batch`.

    Each stage includes the ones before it; the one at which the rate falls is where the time goes. `batch` is what
    training gets.
    """
    examples = data.training_examples(labels)
    positions = tf.data.Dataset.range(examples.count).repeat()
    stream = data.stream(examples, labels, seed=0)
    stages = {"read": _bytes(examples)} if any(examples.listing.files) else {}
    stages |= {
        "decode": positions.map(examples.load, num_parallel_calls=PARALLEL),
        "augment": stream.pictures(0, images + WARM_UP),
        "batch": stream.batches(0, 0, -(-(images + WARM_UP) // data.batch_size)).unbatch(),
    }
    return {name: _rate(stage, images) for name, stage in stages.items()}


def _split_faults(data: Data, labels: Labels, split: str) -> Iterator[str]:
    try:
        examples = data.examples(split, labels)
    except DataError as error:
        yield str(error)
        return
    total = np.zeros(labels.count + 1, np.int64)
    for name, (counts, fault) in zip(examples.listing.names, _surveyed(examples, labels), strict=True):
        if counts is None:
            yield fault
            continue
        total += counts[0].numpy()
        if not counts[0].numpy()[:-1].any():
            yield f"{split}/{name}: no pixel has a class, all are {labels.ignore} (ignore). Take the example out."
    if split == data.train_split:
        yield from _absent(data, labels, total)


def _surveyed(examples: Examples, labels: Labels) -> Iterator[tuple[Tensors | None, str]]:
    def load(index: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        _, mask, fault = examples.load(index)
        return (histogram(mask, labels),), fault

    return survey(examples.count, load, examples.files)


def _absent(data: Data, labels: Labels, total: np.ndarray) -> Iterator[str]:
    """Classes that a net cannot learn."""
    if not total.any():
        return
    absent = [name for name, pixels in zip(labels.names, total[:-1], strict=True) if not pixels]
    if absent:
        told = (
            f"{data.train_split}: no mask has the class {', '.join(map(repr, absent))}. Correct `labels` or the masks."
        )
        mask = getattr(data.source, "mask", None)
        two_values = labels.ignore == 255 and total[0] and total[-1] and not total[1:-1].any()
        hint = " If they are black and white, set `data.source.mask: binary`." if two_values else ""
        yield told + hint if hint and isinstance(mask, Ids) else Warned(told)


def _passed_over(data: Data, splits: tuple[str, ...]) -> Iterator[Warned]:
    """Files that look like examples and are none."""
    if isinstance(data.source, Folder) and data.root is not None and data.root.is_dir():
        for split in splits:
            yield from map(Warned, data.source.passed_over(data.root, split))


def _box_faults(data: Data, labels: Labels) -> tuple[str, ...]:
    try:
        data.training_examples(labels)
    except DataError as error:
        return (str(error),)
    return ()


def _shared(data: Data, splits: tuple[str, ...]) -> tuple[str, ...]:
    """Images whose very bytes are in more than one split."""
    try:
        images = [(split, Path(files[0])) for split in splits for files in data.files(split) if files]
    except DataError:
        return ()  # already a fault of its split
    sizes = defaultdict(list)
    for split, path in images:
        if path.is_file():
            sizes[path.stat().st_size].append((split, path))
    seen: dict[bytes, tuple[str, Path]] = {}
    twice = []
    for split, path in (item for group in sizes.values() if len({split for split, _ in group}) > 1 for item in group):
        other = seen.setdefault(hashlib.sha256(path.read_bytes()).digest(), (split, path))
        if other[0] != split:
            twice.append(f"{path}: the same picture as {other[1]} of the split {other[0]}. Keep it in one split.")
    return tuple(twice)


def _figures(data: Data, labels: Labels, split: str) -> dict[str, Any]:
    examples = data.examples(split, labels)

    def load(index: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        image, mask, fault = examples.load(index)
        pixels = tf.cast(tf.reshape(image, [-1, data.channels]), tf.float64) / 255
        sums = tf.stack([tf.reduce_sum(pixels, 0), tf.reduce_sum(pixels * pixels, 0)])
        return (tf.shape(mask), histogram(mask, labels), sums), fault

    sizes, histograms, sums = zip(*arrays(read(0, examples.count, load, examples.files)), strict=True)
    counts = summed(histograms)
    mean, square = np.sum(sums, 0) / (counts.classes.sum() + counts.ignored)
    return {
        "images": examples.count,
        "sizes": dict(Counter(f"{width}x{height}" for height, width in sizes).most_common()),
        "pixels": _by_class(labels, counts.classes),
        "images_with": _by_class(labels, counts.images),
        "ignored": counts.ignored,
        "mean": [round(float(value), 4) for value in mean],
        "deviation": [round(float(value), 4) for value in np.sqrt(np.maximum(square - mean**2, 0))],
        "median_frequency_weights": _weights(labels, counts),
    }


def _by_class(labels: Labels, values: np.ndarray) -> dict[str, int]:
    return {name: int(value) for name, value in zip(labels.names, values, strict=True)}


def _weights(labels: Labels, counts: PixelCounts) -> dict[str, float]:
    weights = balanced("median_frequency", counts.classes, counts.pictures)
    return {name: round(weight, 4) for name, weight in zip(labels.names, weights, strict=True) if weight}


def _bytes(examples: Examples) -> tf.data.Dataset:
    """The content of every example's files, as read from the disk or from the memory of the operating system."""

    def load(files: tf.Tensor) -> list[tf.Tensor]:
        return [tf.io.read_file(file) for file in tf.unstack(files)]

    listed = tf.data.Dataset.from_tensor_slices(list(examples.listing.files)).repeat()
    return listed.map(load, num_parallel_calls=PARALLEL)


def _rate(stage: tf.data.Dataset, images: int) -> float:
    with explained():
        iterator = iter(stage.with_options(FIXED))
        for _ in islice(iterator, WARM_UP):
            pass
        start = time.perf_counter()
        count = sum(1 for _ in islice(iterator, images))
        return count / (time.perf_counter() - start)
