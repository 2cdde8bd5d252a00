"""Processor time of each augmentation op per image, on one thread, inside of a tf.data pipeline.

    python benchmarks/augment.py [--size 321 321] [--repeat 200] [--rounds 5] [--ops affine blur]

Every op is applied to each image (`probability: 1`), with its default strength, on uint8 images and masks. The time is
that of the process, so that other load on the machine affects it little, less that of the same pipeline without the op:
the median over rounds. For ops before the crop, the whole image is transformed.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from tfseg.data.augment import Augment, AugmentSpec, View, augmented
from tfseg.spec.declare import members, type_name


def always(kind: type) -> AugmentSpec:
    """Returns an op with its default strength that is applied to each image."""
    return kind(probability=1.0) if "probability" in kind.__dataclass_fields__ else kind()  # type: ignore[attr-defined]


def photograph(height: int, width: int) -> tf.Tensor:
    """Returns smooth waves with noise."""
    rows, columns = np.mgrid[:height, :width, :3][:2] / 20
    noise = np.random.default_rng(0).normal(0, 8, rows.shape)
    return tf.constant(np.clip(100 + 60 * np.sin(rows) * np.cos(columns) + noise, 0, 255).astype(np.uint8))


def pipeline(ops: tuple[AugmentSpec, ...], size: tuple[int, int], count: int) -> tf.data.Dataset:
    """Returns a dataset of `count` augmented images."""
    image, mask = photograph(*size), tf.zeros(size, tf.uint8)

    def load(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shifted = tf.roll(image, tf.cast(number, tf.int32), 0)  # differs, so that the op is not computed only once
        return augmented(shifted, mask, tf.stack([number, number]), ops, View(255))

    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    return tf.data.Dataset.range(count).map(load).with_options(options)


def seconds(dataset: tf.data.Dataset, count: int) -> float:
    """Returns the processor time per image."""
    iterator = iter(dataset)
    next(iterator)  # starts the pipeline
    start = time.process_time()
    for _ in iterator:
        pass
    return (time.process_time() - start) / (count - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs=2, type=int, default=(321, 321), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--repeat", type=int, default=200, help="number of images per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ops", nargs="*", help="names of ops; all by default")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    size, count = tuple(options.size), options.repeat
    plain = pipeline((), size, count)
    print(f"TensorFlow {tf.__version__}; {size[0]}x{size[1]} pixels; processor time in ms per image")
    for kind in members(Augment):
        if not issubclass(kind, AugmentSpec) or (options.ops and type_name(kind) not in options.ops):
            continue
        dataset = pipeline((always(kind),), size, count)
        times = [seconds(dataset, count) - seconds(plain, count) for _ in range(options.rounds)]
        print(f"{type_name(kind):<16}{1000 * statistics.median(times):8.2f}", flush=True)


if __name__ == "__main__":
    main()
