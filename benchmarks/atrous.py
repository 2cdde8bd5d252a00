"""Time of a 3x3 atrous convolution with tfseg's layer, Keras's, and PyTorch's if installed.

    python benchmarks/atrous.py                      # 65x65, 512 to 512 channels, rates 1, 6, 12, 18, 24
    python benchmarks/atrous.py --repeats 3 --rates 6 24 --channels 128

Every repetition runs all candidates in turn, so that other load on the machine affects all of them. The script prints
the median time of each over the repetitions in milliseconds, for the forward pass and for forward and backward passes
(gradients of input and kernel), and the median of the ratio Keras / tfseg within a repetition.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from tfseg.layers import AtrousConv2D

try:
    import torch
except ImportError:
    torch = None

Run = Callable[[], object]


def in_tensorflow(kind: type[keras.layers.Layer], x: np.ndarray, filters: int, rate: int) -> tuple[Run, Run]:
    """Returns the forward pass, and the forward and backward passes, of a layer, as compiled graphs."""
    layer = kind(filters, 3, padding="same", dilation_rate=rate, use_bias=False)
    layer.build(x.shape)
    image, kernel = tf.constant(x), layer.trainable_weights[0].value

    @tf.function
    def forward() -> tf.Tensor:
        return layer(image)

    @tf.function
    def backward() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            y = layer(image)
        return tape.gradient(y, [image, kernel])

    return lambda: forward().numpy(), lambda: [each.numpy() for each in backward()]


def in_torch(x: np.ndarray, filters: int, rate: int) -> tuple[Run, Run]:
    """Returns the same with PyTorch."""
    layer = torch.nn.Conv2d(x.shape[3], filters, 3, padding=rate, dilation=rate, bias=False)
    image = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).requires_grad_()

    def forward() -> object:
        with torch.no_grad():
            return layer(image)

    return forward, lambda: torch.autograd.grad(layer(image).sum(), [image, layer.weight])


def milliseconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1000


def measured(candidates: dict[str, tuple[Run, Run]], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Returns the times (forward, backward) of each candidate and repetition, after a warm-up repetition."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for repeat in range(repeats + 1):
        for name, (forward, backward) in candidates.items():
            pair = milliseconds(forward), milliseconds(backward)
            if repeat:
                times[name].append(pair)
    return times


def row(rate: int, times: dict[str, list[tuple[float, float]]]) -> str:
    cells = [str(rate)]
    for runs in times.values():
        cells += [" / ".join(f"{statistics.median(column):.0f}" for column in zip(*runs, strict=True))]
    pairs = zip(times["Keras"], times["tfseg"], strict=True)
    ratios = zip(*((k[0] / t[0], k[1] / t[1]) for k, t in pairs), strict=True)
    return f"| {' | '.join([*cells, ' / '.join(f'{statistics.median(column):.2f}' for column in ratios)])} |"


def about() -> str:
    gpus = [
        tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in tf.config.list_physical_devices("GPU")
    ]
    versions = [f"TensorFlow {tf.__version__}", f"Keras {keras.__version__}", f"Python {platform.python_version()}"]
    threads = f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} CPU threads"
    if torch is not None:
        versions.append(f"torch {torch.__version__} ({torch.get_num_threads()} threads, always on the CPU)")
    return f"{', '.join(versions)}; {', '.join(gpus) or 'no GPU'}; {threads}; load {os.getloadavg()[0]:.1f}"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=int, nargs="+", default=[1, 6, 12, 18, 24])
    parser.add_argument("--size", type=int, default=65)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args(arguments)
    x = np.random.default_rng(0).normal(size=(1, options.size, options.size, options.channels)).astype("float32")
    names = ["tfseg", "Keras", *([] if torch is None else ["torch"])]
    print(f"{options.size}x{options.size}, {options.channels} to {options.channels} channels, batch 1, float32, "
          f"{options.repeats} repetitions; milliseconds forward / forward and backward\n{about()}\n")  # fmt: skip
    print(f"| rate | {' | '.join(names)} | Keras / tfseg |\n|{'---|' * (len(names) + 2)}")
    for rate in options.rates:
        kinds = {"tfseg": AtrousConv2D, "Keras": keras.layers.Conv2D}
        candidates = {name: in_tensorflow(kind, x, options.channels, rate) for name, kind in kinds.items()}
        if torch is not None:
            candidates["torch"] = in_torch(x, options.channels, rate)
        print(row(rate, measured(candidates, options.repeats)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
