"""Losses beside cross-entropy: time of value and gradient, and memory, for a batch of logits.

    python benchmarks/losses.py [--shape 8 321 321] [--classes 21] [--present 5] [--pairs 7] [--only NAME ...]

Label maps are squares of 32 pixels, of `--present` classes per image, with 5 % ignored pixels. Each loss is measured in
a process of its own, alternately with cross-entropy. Times are medians in milliseconds, ratios medians of the pairs.
Memory is the peak of the process during the steps of the loss, beyond that before, in MiB.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from tfseg import losses

LOSSES: dict[str, Callable[[], Any]] = {
    "cross_entropy": losses.CrossEntropy,
    "cross_entropy, label_smoothing 0.1": lambda: losses.CrossEntropy(label_smoothing=0.1),
    "top_k_cross_entropy": losses.TopKCrossEntropy,
    "ohem_cross_entropy": losses.OhemCrossEntropy,
    "focal": losses.Focal,
    "dice": losses.Dice,
    "dice, over batch": lambda: losses.Dice("batch"),
    "tversky": losses.Tversky,
    "lovasz_softmax": losses.LovaszSoftmax,
    "boundary": losses.Boundary,
    "boundary_cross_entropy": losses.BoundaryCrossEntropy,
    "sum: cross_entropy, dice": lambda: losses.WeightedSum([losses.CrossEntropy(), losses.Dice()]),
}


def batch(options: argparse.Namespace, channels: int) -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(0)
    count, height, width = options.shape
    chosen = [rng.permutation(options.classes)[: options.present] for _ in range(count)]
    blocks = np.stack([rng.choice(each, (-(-height // 32), -(-width // 32))) for each in chosen])
    labels = np.repeat(np.repeat(blocks, 32, 1), 32, 2)[:, :height, :width].astype(np.uint8)
    labels[rng.random(labels.shape) < 0.05] = 255
    return tf.constant(labels), tf.constant(rng.normal(0, 2, (*labels.shape, channels)).astype(np.float32))


def step(loss: Any, labels: tf.Tensor, logits: tf.Tensor) -> Callable[[], Any]:
    @tf.function
    def both(y: tf.Tensor, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(y, z)
        return value, tape.gradient(value, z)

    return lambda: both(labels, logits)[0].numpy()


def milliseconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - start)


def measure(name: str, options: argparse.Namespace) -> None:
    """Prints a row of the table."""
    loss = LOSSES[name]()
    inputs = batch(options, 1 if name == "boundary_cross_entropy" else options.classes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    own = step(loss, *inputs)
    own()
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    other = step(losses.CrossEntropy(), *batch(options, options.classes))
    other()
    pairs = [(milliseconds(own), milliseconds(other)) for _ in range(options.pairs)]
    time_, ratio = statistics.median(each[0] for each in pairs), statistics.median(a / b for a, b in pairs)
    print(f"| {name} | {time_:.0f} | {ratio:.2f} | {memory:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(8, 321, 321), help="images, height and width")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--present", type=int, default=5, help="classes in the label map of an image")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=LOSSES, default=list(LOSSES), metavar="NAME")
    parser.add_argument("--one", choices=LOSSES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one, options)
        return
    print("| loss | ms | times cross-entropy | memory, MiB |\n|---|---|---|---|", flush=True)
    for name in options.only:
        subprocess.run([sys.executable, *sys.argv, "--one", name], check=True)


if __name__ == "__main__":
    main()
