"""Time of `CrfRnn(kernel="convolutional")` on JAX's default device, after a comparison with brute-force sums.

    KERAS_BACKEND=jax python benchmarks/crf_window.py [--size 376 500] [--classes 21]

Requires jax, but not TensorFlow. Times are medians of seven calls after compilation, with inputs and outputs on the
device.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np
from keras import ops

from tfseg.layers import CrfRnn

THETAS = {"theta_alpha": 6.0, "theta_beta": 60.0, "theta_gamma": 2.0}
WEIGHTS = {"bilateral_weight": 2.0, "spatial_weight": 1.0}


def inputs(*shape: int) -> list[Any]:
    """Returns random logits `[batch, height, width, classes]` and an image."""
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (*shape[:3], 3))
    return [jax.numpy.asarray(x, "float32") for x in (generator.normal(size=shape), image)]


def brute_force(logits: np.ndarray, image: np.ndarray, window: int) -> np.ndarray:
    """Computes ten iterations with brute-force sums over the pixels of one image, in float64."""
    positions = [np.ravel(each) for each in np.mgrid[: logits.shape[0], : logits.shape[1]]]
    square = sum((p[:, None] - p) ** 2 for p in positions)
    colors = image.reshape(-1, 3).astype("float64")
    between = ((colors[:, None] - colors) ** 2).sum(-1)
    bilateral = np.exp(-square / 2 / THETAS["theta_alpha"] ** 2 - between / 2 / THETAS["theta_beta"] ** 2)
    for p in positions:
        bilateral[abs(p[:, None] - p) > window // 2] = 0
    spatial = np.exp(-square / 2 / THETAS["theta_gamma"] ** 2)
    kernel: Any = sum(
        weight * raw / raw.sum(1, keepdims=True)
        for weight, raw in zip(WEIGHTS.values(), (bilateral, spatial), strict=True)
    )
    q = unary = logits.reshape(-1, logits.shape[-1]).astype("float64")
    for _ in range(10):
        p = np.exp(q - q.max(1, keepdims=True))
        q = unary + kernel @ (p / p.sum(1, keepdims=True))
    return q.reshape(logits.shape)


def compare() -> None:
    logits, image = inputs(1, 20, 23, 5)
    refined = CrfRnn(kernel="convolutional", window=7, **THETAS, **WEIGHTS)([logits, image])
    difference = np.abs(np.asarray(refined[0]) - brute_force(np.asarray(logits[0]), np.asarray(image[0]), 7)).max()
    print(f"maximum difference from brute-force sums, 20x23: {difference:.1e}")


def milliseconds(call: Callable[[], Any]) -> float:
    times = []
    for _ in range(8):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[1:])  # the first compiles


def measure(window: int, *shape: int) -> None:
    layer = CrfRnn(kernel="convolutional", window=window)
    given = inputs(*shape)
    layer.build([x.shape for x in given])
    weights = [variable.value for variable in layer.trainable_variables]

    def refined(weights: Any, logits: Any, image: Any, training: bool = False) -> Any:
        return layer.stateless_call(weights, [], [logits, image], training=training)[0]

    def loss(weights: Any, logits: Any, image: Any) -> Any:
        return -ops.mean(ops.log_softmax(refined(weights, logits, image, training=True))[..., 0])

    infer, learn = jax.jit(refined), jax.jit(jax.grad(loss, argnums=(0, 1)))
    print(
        f"window {window}, batch {shape[0]}: 10 iterations {milliseconds(lambda: infer(weights, *given)):.1f} ms, "
        f"5 iterations forward and backward {milliseconds(lambda: learn(weights, *given)):.1f} ms",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs=2, type=int, default=(376, 500), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--classes", type=int, default=21)
    options = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")
    print(f"jax {jax.__version__}, Keras {keras.__version__}, {jax.devices()[0].device_kind}")
    compare()
    for window, batch in ((7, 1), (11, 1), (11, 4)):
        measure(window, batch, *options.size, options.classes)


if __name__ == "__main__":
    main()
