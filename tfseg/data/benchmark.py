"""Throughput of the input pipeline, for `tfseg data bench`."""

import time
from itertools import islice

import tensorflow as tf

from tfseg.data.dataset import Dataset
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
    indices = tf.data.Dataset.range(examples.count).repeat()
    stages = {} if examples.content is None else {"read": indices.map(examples.content, num_parallel_calls=PARALLEL)}
    stages |= {
        "decode": indices.map(examples.load, num_parallel_calls=PARALLEL),
        "augment": stream.augmented(0, count),
        "batch": stream.batches(0, 0, -(-count // stream.batch_size)).unbatch(),
    }
    return {name: _rate(stage, images) for name, stage in stages.items()}


def _rate(stage: tf.data.Dataset, images: int) -> float:
    with explained():
        iterator = iter(stage.with_options(FIXED))
        for _ in islice(iterator, WARM_UP):
            pass
        start = time.perf_counter()
        count = sum(1 for _ in islice(iterator, images))
        return count / (time.perf_counter() - start)
