"""Throughput of the input pipeline, for `tfseg data bench`."""

import time
from itertools import islice

import tensorflow as tf

from tfseg.data.dataset import Dataset
from tfseg.data.examples import Examples
from tfseg.data.reading import FIXED, PARALLEL, explained

BENCH_IMAGES = 200
WARM_UP = 16


def bench(data: Dataset, images: int = BENCH_IMAGES) -> dict[str, float]:
    """Measures the images per second after each transformation of the training input.

    The transformations are `read`, `decode`, `augment` and `batch`, whose output is the input of training. Each rate
    includes the previous transformations, so the one at which the rate drops is the bottleneck. With `cache`, only
    `read` reads files.

    Args:
        data: Dataset.
        images: Integer, number of images to measure.

    Returns:
        The rate after each transformation. Synthetic data have no `read`.
    """
    examples, stream, count = data.training_examples, data.stream, images + WARM_UP
    stages = {"read": _bytes(examples)} if any(examples.listing.files) else {}
    stages |= {
        "decode": tf.data.Dataset.range(examples.count).repeat().map(examples.load, num_parallel_calls=PARALLEL),
        "augment": stream.augmented(0, count),
        "batch": stream.batches(0, 0, -(-count // stream.batch_size)).unbatch(),
    }
    return {name: _rate(stage, images) for name, stage in stages.items()}


def _bytes(examples: Examples) -> tf.data.Dataset:
    """Returns the content of the files of each example, from the disk or the page cache of the operating system."""

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
