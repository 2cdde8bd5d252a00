"""Time, memory and accuracy of `tfseg.ops.dense_crf`, compared with pydensecrf2 and brute-force sums.

    python benchmarks/crf.py [FOLDER] [--pairs 10] [--quick]

FOLDER contains `data/voc2012` and `golden/densecrf` (by default `../shared` relative to the project root). pydensecrf2
is not a dependency of tfseg: `pip install pydensecrf2` requires a C++ compiler. Without it, its columns are omitted.

Times are those of a warm call including the lattice, from arrays to arrays. Ratios are medians over pairs of successive
calls: other load on the machine affects them less than the times. Memory is measured in a separate process, on Linux,
as the peak minus the peak after a call on a tiny image. If a row has a target, it is in its last column.
"""

import argparse
import importlib
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image

from tfseg.ops import CrfParameters, dense_crf
from tfseg.ops.crf.gaussian import gaussian_blur, gaussian_sums
from tfseg.ops.crf.mean_field import NORMALIZATIONS, BilateralKernel, bilateral_features

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ["2007_000529", "2007_000999", "2007_001774", "2007_002445", "2007_008415", "2007_009252"]
VALUES = CrfParameters(4, 67, 3, 3, 3, "symmetric")
"""Values of the golden set `deeplab_like_symmetric`."""
PRUNE = 0.05
MODES = {"before": "NORMALIZE_BEFORE", "after": "NORMALIZE_AFTER", "symmetric": "NORMALIZE_SYMMETRIC"}


def pydensecrf() -> Any:
    try:
        return importlib.import_module("pydensecrf.densecrf")
    except ImportError:
        return None


def theirs(probabilities: np.ndarray, image: np.ndarray, crf: CrfParameters = VALUES, iterations: int = 10) -> Any:
    """Refines an image with pydensecrf2."""
    library = pydensecrf()
    height, width, labels = probabilities.shape
    mode = getattr(library, MODES[crf.normalization])
    model = library.DenseCRF2D(width, height, labels)
    model.setUnaryEnergy(np.ascontiguousarray(-np.log(np.clip(probabilities, 1e-5, 1)).reshape(-1, labels).T))
    if crf.spatial_weight:
        model.addPairwiseGaussian(sxy=crf.theta_gamma, compat=crf.spatial_weight, normalization=mode)
    model.addPairwiseBilateral(
        sxy=crf.theta_alpha, srgb=crf.theta_beta, rgbim=image, compat=crf.bilateral_weight, normalization=mode
    )
    return np.array(model.inference(iterations)).T.reshape(probabilities.shape)


def ours(probabilities: np.ndarray, image: np.ndarray, crf: CrfParameters = VALUES, **options: Any) -> np.ndarray:
    """Refines an image or a batch with tfseg."""
    single = probabilities.ndim == 3
    inputs = (probabilities[None], image[None]) if single else (probabilities, image)
    refined = dense_crf(*inputs, parameters=crf, **options).numpy()
    return refined[0] if single else refined


# Inputs.


class Images:
    """Photographs and the scores of a network for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.golden = np.load(folder / "golden" / "densecrf" / "pydensecrf_voc.npz")
        self.sets = json.loads((folder / "golden" / "densecrf" / "parameters.json").read_text())

    def __call__(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        (file,) = (self.folder / "data" / "voc2012").rglob(f"{name}.jpg")
        image = np.array(Image.open(file).convert("RGB"))
        scores = tf.image.resize(self.golden[f"scores/{name}"].astype("float32"), image.shape[:2])
        return np.clip(tf.nn.softmax(scores), 1e-5, 1), image

    def simulated(self, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields evenly spaced photographs with probabilities like those of a coarse network: blurred and noisy."""
        masks = sorted((self.folder / "data" / "voc2012" / "SegmentationClassAug").glob("*.png"))
        masks = [mask for mask in masks if mask.stem not in IMAGES]
        for mask in masks[:: len(masks) // count][:count]:
            image = np.array(
                Image.open(self.folder / "data" / "voc2012" / "JPEGImages" / f"{mask.stem}.jpg").convert("RGB")
            )
            ones = tf.one_hot(np.array(Image.open(mask)), 21)[None]
            blurred = gaussian_blur(ones, 8.0)[0].numpy() + 1
            noisy = blurred * np.random.default_rng(0).gamma(2.0, size=blurred.shape)
            yield (noisy / noisy.sum(-1, keepdims=True)).astype("float32"), image

    def enlarged(self, size: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns a photograph resized to a square, and probabilities of any number of labels."""
        probabilities, image = self(IMAGES[0])
        image = np.array(Image.fromarray(image).resize((size, size)))
        repeated = np.asarray(tf.image.resize(probabilities, (size, size)))[..., np.arange(labels) % 21]
        return repeated / repeated.sum(-1, keepdims=True), image


# Measures.


def pairs(one: Callable[[], Any], other: Callable[[], Any] | None, count: int) -> tuple[float, float, float]:
    """Returns the median times of both calls in seconds, and the median ratio within a pair."""
    times = []
    for number in range(count + 1):
        moments = [time.perf_counter()]
        for call in (one, other) if other else (one,):
            call()
            moments.append(time.perf_counter())
        if number:  # the first is a warm-up
            times.append([b - a for a, b in itertools.pairwise(moments)])
    first = statistics.median(t[0] for t in times)
    if other is None:
        return first, float("nan"), float("nan")
    return first, statistics.median(t[1] for t in times), statistics.median(t[0] / t[1] for t in times)


def row(name: str, *values: Any) -> None:
    print(f"{name:<52}" + "".join(f"{value:>14}" for value in values), flush=True)


def of_four(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns a batch of an image and its three mirror images."""
    first, second = (np.stack([x, x[::-1], x[:, ::-1], x[::-1, ::-1]]) for x in pair)
    return first, second


def time_rows(images: Images, count: int) -> None:
    row("time of 10 iterations, 500x375, 21 labels", "tfseg s", "pydensecrf2 s", "ratio", "target <=")
    probabilities, image = images(IMAGES[0])
    batch = of_four((probabilities, image))
    time_row("one image, all labels", 1, lambda: ours(probabilities, image), (probabilities, image), count, "0.8")
    time_row("batch of 4, per image", 4, lambda: ours(*batch), (probabilities, image), count, "0.6")
    for name in IMAGES:
        pair = images(name)
        kept = np.count_nonzero(pair[0].max((0, 1)) > PRUNE)
        size = "x".join(map(str, pair[1].shape[1::-1]))
        title = f"pruned: {name}, {size}, {kept} labels above {PRUNE}"
        target = "0.25" if kept <= 5 else ""
        time_row(title, 1, lambda pair=pair: ours(*pair, prune=PRUNE), pair, count, target)
    start = time.perf_counter()
    dense_crf(probabilities[None], image[None], parameters=VALUES, iterations=7)
    row("  the first call, which traces the graph", f"{time.perf_counter() - start:.3f}")


def time_row(
    title: str, images: int, call: Callable[[], Any], one: tuple[np.ndarray, np.ndarray], count: int, target: str
) -> None:
    """Prints the time of a call, compared with pydensecrf2 on one image with all labels."""
    mine, yours, ratio = pairs(call, (lambda: theirs(*one)) if pydensecrf() else None, count)
    row("  " + title, f"{mine / images:.3f}", f"{yours:.3f}", f"{ratio / images:.3f}", target)


def label_rows(images: Images) -> None:
    row("labels equal to pydensecrf2's, in %", *IMAGES)
    for parameters, p in images.sets.items():
        crf = CrfParameters(p["w1"], p["sa"], p["sb"], p["w2"], p["sg"], p["mode"])
        equal, pruned = [], []
        for name in IMAGES:
            probabilities, image = images(name)
            golden = images.golden[f"labels/{parameters}/{name}"]
            equal.append(f"{100 * np.mean(ours(probabilities, image, crf).argmax(-1) == golden):.3f}")
            pruned.append(f"{100 * np.mean(ours(probabilities, image, crf, prune=PRUNE).argmax(-1) == golden):.3f}")
        row(f"  {parameters} ({p['mode']})", *equal)
        row(f"  the same, pruned at {PRUNE}", *pruned)
    if pydensecrf():
        equal = [np.mean(ours(*pair).argmax(-1) == theirs(*pair).argmax(-1)) for pair in images.simulated(10)]
        row(
            "  10 other photographs, simulated: minimum, mean",
            f"{100 * min(equal):.3f}",
            f"{100 * np.mean(equal):.3f}",
        )
    row("  target >=", "99.9")


def exactness_rows(images: Images) -> None:
    row("maximum difference of probabilities", "measured", "target <=")
    crop = np.random.default_rng(0).dirichlet(np.ones(4), (24, 24)).astype("float32")
    for mode in NORMALIZATIONS:
        crf = CrfParameters(0, 1, 1, 0.05 if mode == "none" else 3, 2, mode)
        refined = ours(crop, np.zeros((24, 24, 3), "uint8"), crf)
        row(
            f"  brute-force sums, spatial kernel, 24x24, {mode}",
            f"{np.abs(refined - brute_force(crop, crf)).max():.1e}",
            "1e-5",
        )
    pair = images(IMAGES[0])
    batch = of_four(pair)
    refined = ours(*batch)
    single = np.stack([ours(*one) for one in zip(*batch, strict=True)])
    row("  single images of a batch of 4", f"{np.abs(refined - single).max():.1e}", "1e-5")
    row("  repeated call", f"{np.abs(refined - ours(*batch)).max():.1e}", "0")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, str(images.folder), "--one-thread", f"{folder}/refined.npy"]
        subprocess.run(command, check=True)
        row("  one thread", f"{np.abs(np.load(f'{folder}/refined.npy') - ours(*pair)).max():.1e}", "1e-5")


def brute_force(probabilities: np.ndarray, crf: CrfParameters) -> np.ndarray:
    """Computes ten iterations with brute-force sums of the spatial kernel alone, in float64."""
    shape = probabilities.shape
    unary = np.log(np.clip(probabilities.astype("float64"), 1e-5, 1)).reshape(-1, shape[-1])
    positions = np.stack(np.meshgrid(*map(np.arange, shape[:2]), indexing="ij"), -1).reshape(-1, 2)
    kernel = np.exp(-0.5 * np.square(positions[:, None] - positions).sum(-1) / crf.theta_gamma**2)
    n = kernel.sum(1, keepdims=True)
    kernel = {"none": kernel, "before": kernel / n.T, "after": kernel / n, "symmetric": kernel / np.sqrt(n * n.T)}[
        crf.normalization
    ]
    q = tf.nn.softmax(unary).numpy()
    for _ in range(10):
        q = tf.nn.softmax(unary + crf.spatial_weight * kernel @ q).numpy()
    return q.reshape(shape)


def measure_with_one_thread(folder: Path, file: str) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    np.save(file, ours(*Images(folder)(IMAGES[0])))


def message_rows(images: Images) -> None:
    """Prints errors of the bilateral sums, derived from one iteration with random probabilities."""
    row("mean error of the bilateral sums, 60x48", "tfseg", "pydensecrf2", "ratio", "target <=")
    q = np.random.default_rng(0).dirichlet(np.ones(4), (48, 60)).astype("float32")
    for name in IMAGES[:3]:
        image = images(name)[1][100:148, 200:260].copy()
        for alpha, beta in ((80, 13), (67, 3), (121, 5), (40, 10)):
            crf = CrfParameters(1, alpha, beta, 0, 1, "after")
            features = bilateral_features(tf.constant(image, "float64"), alpha, beta)
            flat = tf.constant(q.reshape(-1, 4), "float64")
            exact = np.asarray(gaussian_sums(flat, features) / gaussian_sums(tf.ones_like(flat), features))
            mine = np.asarray(
                BilateralKernel(tf.constant(image, "float32"), alpha, beta, "after", 1.0)(q.reshape(-1, 4))
            )
            errors = [np.abs(mine - exact).mean()]
            if pydensecrf():
                log = np.log(np.clip(theirs(q, image, crf, 1), 1e-30, 1)) - np.log(np.clip(q, 1e-5, 1))
                sums = log.reshape(-1, 4)  # up to a constant per pixel
                errors.append(np.abs(sums - sums.mean(1, keepdims=True) - exact + exact.mean(1, keepdims=True)).mean())
                centered = mine - mine.mean(1, keepdims=True) - exact + exact.mean(1, keepdims=True)
                errors[0] = np.abs(centered).mean()
                errors.append(errors[0] / errors[1])
            shown = [f"{error:.5f}" for error in errors]
            row(f"  {name}, theta_alpha {alpha}, theta_beta {beta}", *shown, *(["1"] if pydensecrf() else []))


def growth_rows(images: Images, count: int) -> None:
    row("time by number of pixels, 21 labels", "pixels", "s", "us/pixel")
    sizes, times = [128, 256, 512, 1024], []
    for size in sizes:
        probabilities, image = images.enlarged(size, 21)
        times.append(pairs(lambda p=probabilities, i=image: ours(p, i), None, count)[0])
        row(f"  {size}x{size}", size**2, f"{times[-1]:.3f}", f"{1e6 * times[-1] / size**2:.2f}")
    power = np.polyfit(np.log(np.square(sizes)), np.log(times), 1)[0]
    row("  time ~ pixels ^", f"{power:.3f}")
    row("time by number of labels, 256x256", "labels", "s")
    labels, times = [8, 16, 24, 48, 96], []
    for number in labels:
        probabilities, image = images.enlarged(256, number)
        times.append(pairs(lambda p=probabilities, i=image: ours(p, i), None, count)[0])
        row("", number, f"{times[-1]:.3f}")
    slope, start = np.polyfit(labels, times, 1)
    fit = 1 - np.var(times - np.polyval([slope, start], labels)) / np.var(times)
    row("  seconds = a + b labels: a, b, R^2", f"{start:.3f}", f"{slope:.4f}", f"{fit:.4f}")


# Memory, each value from a separate process.


def peak() -> int:
    """Returns the peak memory of this process in bytes. (`getrusage` includes the parent's before the start.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure_memory(folder: Path, which: str, size: int, labels: int) -> None:
    probabilities, image = Images(folder).enlarged(size, labels)
    call = ours if which == "tfseg" else theirs
    call(probabilities[:16, :16].copy(), image[:16, :16].copy())
    before = peak()
    call(probabilities, image)
    print(peak() - before)


def memory_rows(folder: Path) -> None:
    row("peak memory", "tfseg MB", "pydensecrf2 MB", "ratio", "B/pixel/label", "target ratio <=")
    for size, labels in ((433, 21), (1024, 21)):
        grown = []
        for which in ("tfseg", "theirs") if pydensecrf() else ("tfseg",):
            command = [sys.executable, __file__, str(folder), "--memory", which, str(size), str(labels)]
            grown.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        shown = [f"{one / 1e6:.0f}" for one in grown] + ([f"{grown[0] / grown[1]:.2f}"] if len(grown) > 1 else [])
        row(f"  {size}x{size}, {labels} labels", *shown, f"{grown[0] / size**2 / labels:.1f}", "3")


def versions() -> None:
    try:
        installed = importlib.metadata.version("pydensecrf2")
    except importlib.metadata.PackageNotFoundError:
        installed = "not installed"
    threads = (tf.config.threading.get_intra_op_parallelism_threads(), len(os.sched_getaffinity(0)))
    print(f"Python {platform.python_version()}, TensorFlow {tf.__version__}, NumPy {np.__version__}, ", end="")
    print(f"pydensecrf2 {installed} (1 thread); TensorFlow threads: {threads[0] or 'one per processor'}, ", end="")
    print(f"processors: {threads[1]}, load: {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--pairs", type=int, default=10, help="number of pairs of calls per ratio")
    parser.add_argument("--quick", action="store_true", help="measure only times and labels")
    parser.add_argument("--memory", nargs=3, metavar=("WHICH", "SIZE", "LABELS"), help=argparse.SUPPRESS)
    parser.add_argument("--one-thread", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        which, size, labels = options.memory
        return measure_memory(options.folder, which, int(size), int(labels))
    if options.one_thread:
        return measure_with_one_thread(options.folder, options.one_thread)
    versions()
    images = Images(options.folder)
    time_rows(images, options.pairs)
    label_rows(images)
    if not options.quick:
        exactness_rows(images)
        message_rows(images)
        growth_rows(images, max(3, options.pairs // 3))
        memory_rows(options.folder)
    return None


if __name__ == "__main__":
    main()
