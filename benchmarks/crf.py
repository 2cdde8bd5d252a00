"""Time, memory and agreement of `tfseg.ops.dense_crf`, beside pydensecrf2 and the sum over all pairs.

    python benchmarks/crf.py [FOLDER] [--pairs 10] [--quick]

FOLDER holds `data/voc2012` and `golden/densecrf` (by default `../shared` from the project's root). pydensecrf2 is no
dependency of tfseg: `pip install pydensecrf2` needs a C++ compiler. Without it, its columns are left out.

Times are of one warm call, lattice included, from arrays to arrays, and ratios are medians over pairs of calls that
follow one another: on a machine with other work they hold where the times do not. Each memory figure comes from a
process of its own, on Linux, and is its peak less what it held after a call on a tiny image. Where a line has a mark to
reach, it stands at its end.
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
PICTURES = ["2007_000529", "2007_000999", "2007_001774", "2007_002445", "2007_008415", "2007_009252"]
VALUES = CrfParameters(4, 67, 3, 3, 3, "symmetric")
"""Those of the golden set `deeplab_like_symmetric`."""
PRUNE = 0.05
MODES = {"before": "NORMALIZE_BEFORE", "after": "NORMALIZE_AFTER", "symmetric": "NORMALIZE_SYMMETRIC"}


def reference() -> Any:
    try:
        return importlib.import_module("pydensecrf.densecrf")
    except ImportError:
        return None


def theirs(probabilities: np.ndarray, image: np.ndarray, crf: CrfParameters = VALUES, iterations: int = 10) -> Any:
    """What pydensecrf2 makes of one image."""
    library = reference()
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
    """What tfseg makes of one image or of a batch."""
    alone = probabilities.ndim == 3
    inputs = (probabilities[None], image[None]) if alone else (probabilities, image)
    refined = dense_crf(*inputs, parameters=crf, **options).numpy()
    return refined[0] if alone else refined


# Inputs.


class Pictures:
    """The real images and the scores of a network for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.golden = np.load(folder / "golden" / "densecrf" / "pydensecrf_voc.npz")
        self.sets = json.loads((folder / "golden" / "densecrf" / "parameters.json").read_text())

    def __call__(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        (file,) = (self.folder / "data" / "voc2012").rglob(f"{name}.jpg")
        image = np.array(Image.open(file).convert("RGB"))
        scores = tf.image.resize(self.golden[f"scores/{name}"].astype("float32"), image.shape[:2])
        return np.clip(tf.nn.softmax(scores), 1e-5, 1), image

    def guessed(self, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Evenly spaced photographs with labels as a coarse network might find them: blurred, and unsure."""
        masks = sorted((self.folder / "data" / "voc2012" / "SegmentationClassAug").glob("*.png"))
        masks = [mask for mask in masks if mask.stem not in PICTURES]
        for mask in masks[:: len(masks) // count][:count]:
            image = np.array(
                Image.open(self.folder / "data" / "voc2012" / "JPEGImages" / f"{mask.stem}.jpg").convert("RGB")
            )
            ones = tf.one_hot(np.array(Image.open(mask)), 21)[None]
            blurred = gaussian_blur(ones, 8.0)[0].numpy() + 1
            noisy = blurred * np.random.default_rng(0).gamma(2.0, size=blurred.shape)
            yield (noisy / noisy.sum(-1, keepdims=True)).astype("float32"), image

    def enlarged(self, size: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
        """A square of any size out of a real image, and probabilities of any number of labels."""
        probabilities, image = self(PICTURES[0])
        image = np.array(Image.fromarray(image).resize((size, size)))
        share = np.asarray(tf.image.resize(probabilities, (size, size)))[..., np.arange(labels) % 21]
        return share / share.sum(-1, keepdims=True), image


# Measures.


def pairs(one: Callable[[], Any], other: Callable[[], Any] | None, count: int) -> tuple[float, float, float]:
    """Medians: seconds of the one, of the other, and the ratio within a pair."""
    times = []
    for number in range(count + 1):
        moments = [time.perf_counter()]
        for call in (one, other) if other else (one,):
            call()
            moments.append(time.perf_counter())
        if number:  # the first is to warm up
            times.append([b - a for a, b in itertools.pairwise(moments)])
    first = statistics.median(t[0] for t in times)
    if other is None:
        return first, float("nan"), float("nan")
    return first, statistics.median(t[1] for t in times), statistics.median(t[0] / t[1] for t in times)


def row(name: str, *values: Any) -> None:
    print(f"{name:<52}" + "".join(f"{value:>14}" for value in values), flush=True)


def of_four(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A batch of an image and its three mirror images."""
    first, second = (np.stack([x, x[::-1], x[:, ::-1], x[::-1, ::-1]]) for x in pair)
    return first, second


def time_rows(pictures: Pictures, count: int) -> None:
    row("time of 10 iterations, 500x375, 21 labels", "tfseg s", "pydensecrf2 s", "ratio", "at most")
    probabilities, image = pictures(PICTURES[0])
    batch = of_four((probabilities, image))
    time_row("one image, all labels", 1, lambda: ours(probabilities, image), (probabilities, image), count, "0.8")
    time_row("batch of 4, each image", 4, lambda: ours(*batch), (probabilities, image), count, "0.6")
    for name in PICTURES:
        pair = pictures(name)
        few = np.count_nonzero(pair[0].max((0, 1)) > PRUNE)
        size = "x".join(map(str, pair[1].shape[1::-1]))
        title = f"pruned: {name}, {size}, {few} labels above {PRUNE}"
        most = "0.25" if few <= 5 else ""
        time_row(title, 1, lambda pair=pair: ours(*pair, prune=PRUNE), pair, count, most)
    start = time.perf_counter()
    dense_crf(probabilities[None], image[None], parameters=VALUES, iterations=7)
    row("  the first call, which builds the graph", f"{time.perf_counter() - start:.3f}")


def time_row(
    title: str, images: int, call: Callable[[], Any], one: tuple[np.ndarray, np.ndarray], count: int, most: str
) -> None:
    """Of one of our calls, beside pydensecrf2 with one image and all labels."""
    mine, yours, ratio = pairs(call, (lambda: theirs(*one)) if reference() else None, count)
    row("  " + title, f"{mine / images:.3f}", f"{yours:.3f}", f"{ratio / images:.3f}", most)


def label_rows(pictures: Pictures) -> None:
    row("labels equal to pydensecrf2's, in %", *PICTURES)
    for name, p in pictures.sets.items():
        crf = CrfParameters(p["w1"], p["sa"], p["sb"], p["w2"], p["sg"], p["mode"])
        equal, pruned = [], []
        for picture in PICTURES:
            probabilities, image = pictures(picture)
            golden = pictures.golden[f"labels/{name}/{picture}"]
            equal.append(f"{100 * np.mean(ours(probabilities, image, crf).argmax(-1) == golden):.3f}")
            pruned.append(f"{100 * np.mean(ours(probabilities, image, crf, prune=PRUNE).argmax(-1) == golden):.3f}")
        row(f"  {name} ({p['mode']})", *equal)
        row(f"  the same, pruned at {PRUNE}", *pruned)
    if reference():
        equal = [np.mean(ours(*pair).argmax(-1) == theirs(*pair).argmax(-1)) for pair in pictures.guessed(10)]
        row(
            "  10 other photographs, guessed labels: lowest, mean",
            f"{100 * min(equal):.3f}",
            f"{100 * np.mean(equal):.3f}",
        )
    row("  at least", "99.9")


def exactness_rows(pictures: Pictures) -> None:
    row("largest difference of probabilities", "found", "at most")
    crop = np.random.default_rng(0).dirichlet(np.ones(4), (24, 24)).astype("float32")
    for mode in NORMALIZATIONS:
        crf = CrfParameters(0, 1, 1, 0.05 if mode == "none" else 3, 2, mode)
        found = ours(crop, np.zeros((24, 24, 3), "uint8"), crf)
        row(
            f"  sum over all pairs, spatial kernel, 24x24, {mode}",
            f"{np.abs(found - by_force(crop, crf)).max():.1e}",
            "1e-5",
        )
    pair = pictures(PICTURES[0])
    batch = of_four(pair)
    together = ours(*batch)
    alone = np.stack([ours(*one) for one in zip(*batch, strict=True)])
    row("  a batch of 4, one by one", f"{np.abs(together - alone).max():.1e}", "1e-5")
    row("  the same again", f"{np.abs(together - ours(*batch)).max():.1e}", "0")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, str(pictures.folder), "--one-thread", f"{folder}/found.npy"]
        subprocess.run(command, check=True)
        row("  one thread", f"{np.abs(np.load(f'{folder}/found.npy') - ours(*pair)).max():.1e}", "1e-5")


def by_force(probabilities: np.ndarray, crf: CrfParameters) -> np.ndarray:
    """Ten iterations with the spatial kernel alone, summed over all pairs in float64."""
    shape = probabilities.shape
    unary = np.log(np.clip(probabilities.astype("float64"), 1e-5, 1)).reshape(-1, shape[-1])
    places = np.stack(np.meshgrid(*map(np.arange, shape[:2]), indexing="ij"), -1).reshape(-1, 2)
    kernel = np.exp(-0.5 * np.square(places[:, None] - places).sum(-1) / crf.theta_gamma**2)
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
    np.save(file, ours(*Pictures(folder)(PICTURES[0])))


def message_rows(pictures: Pictures) -> None:
    """One iteration from random probabilities shows the sums of the bilateral kernel."""
    row("mean error of the bilateral sums, 60x48", "tfseg", "pydensecrf2", "ratio", "at most")
    q = np.random.default_rng(0).dirichlet(np.ones(4), (48, 60)).astype("float32")
    for picture in PICTURES[:3]:
        image = pictures(picture)[1][100:148, 200:260].copy()
        for alpha, beta in ((80, 13), (67, 3), (121, 5), (40, 10)):
            crf = CrfParameters(1, alpha, beta, 0, 1, "after")
            features = bilateral_features(tf.constant(image, "float64"), alpha, beta)
            flat = tf.constant(q.reshape(-1, 4), "float64")
            exact = np.asarray(gaussian_sums(flat, features) / gaussian_sums(tf.ones_like(flat), features))
            mine = np.asarray(
                BilateralKernel(tf.constant(image, "float32"), alpha, beta, "after", 1.0)(q.reshape(-1, 4))
            )
            errors = [np.abs(mine - exact).mean()]
            if reference():
                log = np.log(np.clip(theirs(q, image, crf, 1), 1e-30, 1)) - np.log(np.clip(q, 1e-5, 1))
                sums = log.reshape(-1, 4)  # but for a constant of each pixel
                errors.append(np.abs(sums - sums.mean(1, keepdims=True) - exact + exact.mean(1, keepdims=True)).mean())
                centered = mine - mine.mean(1, keepdims=True) - exact + exact.mean(1, keepdims=True)
                errors[0] = np.abs(centered).mean()
                errors.append(errors[0] / errors[1])
            shown = [f"{error:.5f}" for error in errors]
            row(f"  {picture}, theta_alpha {alpha}, theta_beta {beta}", *shown, *(["1"] if reference() else []))


def growth_rows(pictures: Pictures, count: int) -> None:
    row("growth with pixels, 21 labels", "pixels", "s", "us a pixel")
    sizes, times = [128, 256, 512, 1024], []
    for size in sizes:
        probabilities, image = pictures.enlarged(size, 21)
        times.append(pairs(lambda p=probabilities, i=image: ours(p, i), None, count)[0])
        row(f"  {size}x{size}", size**2, f"{times[-1]:.3f}", f"{1e6 * times[-1] / size**2:.2f}")
    power = np.polyfit(np.log(np.square(sizes)), np.log(times), 1)[0]
    row("  time ~ pixels ^", f"{power:.3f}")
    row("growth with labels, 256x256", "labels", "s")
    labels, times = [8, 16, 24, 48, 96], []
    for number in labels:
        probabilities, image = pictures.enlarged(256, number)
        times.append(pairs(lambda p=probabilities, i=image: ours(p, i), None, count)[0])
        row("", number, f"{times[-1]:.3f}")
    slope, start = np.polyfit(labels, times, 1)
    fit = 1 - np.var(times - np.polyval([slope, start], labels)) / np.var(times)
    row("  seconds = a + b labels: a, b, R^2", f"{start:.3f}", f"{slope:.4f}", f"{fit:.4f}")


# Memory: each figure from its own process.


def peak() -> int:
    """Bytes that this program has held at most. (`getrusage` would count what its parent held before it started.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure_memory(folder: Path, which: str, size: int, labels: int) -> None:
    probabilities, image = Pictures(folder).enlarged(size, labels)
    call = ours if which == "tfseg" else theirs
    call(probabilities[:16, :16].copy(), image[:16, :16].copy())
    before = peak()
    call(probabilities, image)
    print(peak() - before)


def memory_rows(folder: Path) -> None:
    row("peak of memory", "tfseg MB", "pydensecrf2 MB", "ratio", "B/pixel/label", "ratio at most")
    for size, labels in ((433, 21), (1024, 21)):
        grown = []
        for which in ("tfseg", "theirs") if reference() else ("tfseg",):
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
    print(
        f"pydensecrf2 {installed} (1 thread); TensorFlow's threads: {threads[0] or 'as many as processors'}, ", end=""
    )
    print(f"processors: {threads[1]}, load: {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of calls for each ratio")
    parser.add_argument("--quick", action="store_true", help="times and labels alone")
    parser.add_argument("--memory", nargs=3, metavar=("WHICH", "SIZE", "LABELS"), help=argparse.SUPPRESS)
    parser.add_argument("--one-thread", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        which, size, labels = options.memory
        return measure_memory(options.folder, which, int(size), int(labels))
    if options.one_thread:
        return measure_with_one_thread(options.folder, options.one_thread)
    versions()
    pictures = Pictures(options.folder)
    time_rows(pictures, options.pairs)
    label_rows(pictures)
    if not options.quick:
        exactness_rows(pictures)
        message_rows(pictures)
        growth_rows(pictures, max(3, options.pairs // 3))
        memory_rows(options.folder)
    return None


if __name__ == "__main__":
    main()
