"""Parameters, inference time, training step time and memory of the shipped networks.

    python benchmarks/networks.py                        # all networks, 321x321, full width, random weights
    python benchmarks/networks.py shapes unet_camvid --size 257 --repeats 5

Each network runs in a separate process, to measure its own peak memory. The training step is that of the pipeline, with
its optimizer, losses and auxiliary outputs, for a batch of one image. The script prints medians over repetitions in
milliseconds, after a warm-up, and the peak resident memory of the process, which includes TensorFlow.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tfseg.pipeline import load
from tfseg.shipped import shipped

COLUMNS = (
    "| network | trainable | non-trainable | output stride | image, ms | step, ms | peak, GB |"
    "\n|---|---|---|---|---|---|---|"
)


def row(name: str, size: int, repeats: int) -> str:
    """Returns the table row of a network."""
    overrides = ["training.gradient_accumulation_steps=1"]  # one optimizer step per batch
    pipeline = load(name, overrides)
    facts = pipeline.describe()
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, pipeline.model.channels)).astype(np.float32)
    mask = np.random.default_rng(1).integers(0, pipeline.labels.count, (1, size, size)).astype(np.int32)
    with pipeline.training.scope(0):
        model = pipeline.training.network(pipeline.build(training=True))
        even = np.ones(pipeline.labels.count)
        pipeline.training.compile(model, pipeline.labels, steps_per_epoch=1, counts=lambda: (even, even))
    predict = tf.function(keras.Model(model.input, logits(model)), reduce_retracing=True)
    shown = [milliseconds(lambda: predict(image, training=False), repeats)]
    target = dict.fromkeys(model.output, mask) if isinstance(model.output, dict) else mask
    shown.append(milliseconds(lambda: model.train_on_batch(image, target), repeats))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    numbers = (
        f"{facts.trainable:,}",
        f"{facts.non_trainable:,}",
        facts.output_stride,
        *(f"{each:.0f}" for each in shown),
    )
    return f"| {name} | {' | '.join(map(str, numbers))} | {peak:.1f} |"


def logits(model: keras.Model) -> keras.KerasTensor:
    return model.output["logits"] if isinstance(model.output, dict) else model.output


def milliseconds(run: Callable[[], object], repeats: int) -> float:
    """Returns the median time of `repeats` runs, after one that compiles."""
    run()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names of shipped pipelines; all by default")
    parser.add_argument("--size", type=int, default=321, help="height and width of the image")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(row(given.names[0], given.size, given.repeats))
        return
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {platform.machine()}, {os.cpu_count()} processors")
    print(COLUMNS, flush=True)
    for name in given.names or [file.stem for file in shipped()]:
        command = [sys.executable, __file__, name, "--one", f"--size={given.size}", f"--repeats={given.repeats}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name}:\n{done.stderr}")
        print(done.stdout.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
