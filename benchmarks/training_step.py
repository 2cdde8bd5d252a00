"""Training step of shipped networks, with and without an optimization of tfseg, in pairs of runs.

    python benchmarks/training_step.py --without batch_norm                   # both networks, batches of two
    python benchmarks/training_step.py deeplab_v3_plus_resnet50 --without batch_norm --pairs 5 --steps 2 --size 257

Two processes train the same network with the same values, one of them with Keras's implementation instead of tfseg's.
They run in turn, a few steps at a time, so that other load on the machine affects both. The script prints the median
time of a step, and the median of the ratios of the pairs, of wall time and of processor time. On a machine with other
load only the processor time of one thread (`--threads 1`) is meaningful: several threads wait for each other actively.
The losses of the first steps show that both compute the same.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tfseg.layers import BatchNormalization
from tfseg.pipeline import Pipeline, load

PLAIN = ("model.backbone.weights=null", "training.gradient_accumulation_steps=1")
DEEPLAB = ("deeplab_v3_plus_resnet101_voc", *PLAIN)
NETWORKS = {
    "deeplab_v3_plus_mobilenet_v2": (
        *DEEPLAB,
        "model.backbone={type: mobilenet_v2, output_stride: 16}",
        "model.decoder.separable=true",
    ),
    "deeplab_v3_plus_resnet50": (*DEEPLAB, "model.backbone.depth=50"),
}
"""Shipped pipeline of each network, and what is changed in it."""


def keras_batch_norm() -> None:
    BatchNormalization.call = keras.layers.BatchNormalization.call


REPLACED: dict[str, Callable[[], None]] = {"batch_norm": keras_batch_norm}
"""Functions that replace an implementation of tfseg by that of Keras."""


def serve(name: str, size: int, batch: int) -> None:
    """Answers each number of steps on the standard input with wall time, processor time and the last loss."""
    pipeline = load(NETWORKS[name][0], list(NETWORKS[name][1:]))
    model, images, masks = compiled(pipeline), *examples(pipeline, size, batch)
    targets = dict.fromkeys(model.output, masks) if isinstance(model.output, dict) else masks
    for line in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            loss = model.train_on_batch(images, targets)
        loss = float(np.ravel(loss)[0])
        print(time.perf_counter() - wall, time.process_time() - processor, loss, flush=True)


def compiled(pipeline: Pipeline) -> keras.Model:
    """Returns the compiled network of a pipeline."""
    even = np.ones(pipeline.labels.count)
    with pipeline.training.scope(0):
        model = pipeline.training.network(pipeline.build(training=True))
        pipeline.training.compile(model, pipeline.labels, steps_per_epoch=1000, counts=lambda: (even, even))
    return model


def examples(pipeline: Pipeline, size: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a batch of random images and masks."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (batch, size, size, pipeline.model.channels)).astype(np.float32)
    return images, random.integers(0, pipeline.labels.count, (batch, size, size)).astype(np.int32)


class Process:
    """Process of one candidate."""

    def __init__(self, name: str, given: argparse.Namespace, without: str = "") -> None:
        command = [sys.executable, __file__, name, f"--size={given.size}", f"--batch={given.batch}", "--serve"]
        pipe = subprocess.PIPE
        command.append(f"--without={without}")
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names if given.threads else (), str(given.threads))}
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def run(self, steps: int) -> tuple[float, float, float]:
        """Returns wall time and processor time of a step in milliseconds, and the loss."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("The process has no pipes.")
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        wall, processor, loss = map(float, self._process.stdout.readline().split())
        return 1000 * wall / steps, 1000 * processor / steps, loss

    def close(self) -> None:
        self._process.communicate()


def row(name: str, given: argparse.Namespace) -> str:
    """Returns the table row of a network."""
    ours, theirs = Process(name, given), Process(name, given, given.without)
    losses = [process.run(1)[2] for process in (ours, theirs)]  # compiles
    pairs = []
    for index in range(given.pairs):
        order = (ours, theirs) if index % 2 else (theirs, ours)
        results = {id(process): process.run(given.steps) for process in order}
        pairs.append((results[id(ours)], results[id(theirs)]))
    ours.close()
    theirs.close()
    cells = []
    for kind in range(2):
        medians = [statistics.median(pair[which][kind] for pair in pairs) for which in range(2)]
        ratio = statistics.median(pair[1][kind] / pair[0][kind] for pair in pairs)
        cells += [f"{medians[0]:.0f}", f"{medians[1]:.0f}", f"{ratio:.2f}"]
    return f"| {name} | {' | '.join(cells)} | {losses[0]:.7g}, {losses[1]:.7g} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"networks: {', '.join(NETWORKS)}; all by default")
    parser.add_argument("--without", default="batch_norm", choices=["", *REPLACED], help="optimization to replace")
    parser.add_argument("--size", type=int, default=320, help="height and width of the images")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="steps of each run of a pair")
    parser.add_argument("--threads", type=int, default=0, help="threads of TensorFlow; 0: as many as processors")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        if given.without:
            REPLACED[given.without]()
        serve(given.names[0], given.size, given.batch)
        return
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {platform.machine()}, {os.cpu_count()} processors")
    print("| network | wall, ms | without | ratio | processor, ms | without | ratio | losses of the first step |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in given.names or NETWORKS:
        print(row(name, given), flush=True)


if __name__ == "__main__":
    main()
