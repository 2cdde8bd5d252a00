"""`tfseg data bench`: how fast the data come."""

import time
from itertools import islice

import tensorflow as tf

from tfseg.data.dataset import Dataset
from tfseg.data.examples import Examples
from tfseg.data.reading import FIXED, PARALLEL, explained

BENCH_IMAGES = 200
WARM_UP = 16


def bench(data: Dataset, images: int = BENCH_IMAGES) -> dict[str, float]:
    """Images per second of the training input up to each stage: `read`, `decode`, `augment`, `batch`.

    Each stage includes the ones before it; the one at which the rate falls is where the time goes. `batch` is what
    training gets.
    """
    examples, stream, seen = data.training_examples, data.stream, images + WARM_UP
    stages = {"read": _bytes(examples)} if any(examples.listing.files) else {}
    stages |= {
        "decode": tf.data.Dataset.range(examples.count).repeat().map(examples.load, num_parallel_calls=PARALLEL),
        "augment": stream.pictures(0, seen),
        "batch": stream.batches(0, 0, -(-seen // stream.batch_size)).unbatch(),
    }
    return {name: _rate(stage, images) for name, stage in stages.items()}


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
