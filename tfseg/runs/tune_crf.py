"""`tfseg tune-crf`: which CRF does a trained network good, found on images that it was not trained on."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tfseg.atomic import write_text
from tfseg.data import explained
from tfseg.errors import RunError
from tfseg.exporting.bundle import versions
from tfseg.inference import Crf
from tfseg.inference.crf import KERNELS, channels_problem
from tfseg.inference.crf_search import Setting, checked, most, search
from tfseg.labels import Labels
from tfseg.metrics import SegmentationMetrics, TrimapMeanIoU
from tfseg.pipeline import TUNED, Pipeline
from tfseg.runs.directory import Run
from tfseg.runs.predictors import predictor_of
from tfseg.spec.show import dump

NEGLIGIBLE = 0.01
"""Labels that no pixel of an image finds likelier are left out of the search, not of the figures at its end."""

Tell = Callable[[str], None]


def tune_crf(
    run_dir: str | os.PathLike[str] | Run,
    split: str | None = None,
    *,
    images: int = 100,
    ranges: Mapping[str, tuple[float, float, float]] | None = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    allow_plugins: bool = False,
    tell: Tell = lambda line: None,
) -> dict[str, Any]:
    """Searches the parameters of a CRF behind a run's best network, for the highest mIoU.

    Iterations, normalization and pruning are those of the run's own `inference.crf`, if it has one; otherwise 10,
    `after`, as in DeepLab's programs, and none.

    Args:
        run_dir: a run directory.
        split: whose images to search on; by default the split that validated the training.
        images: how many of them, evenly spaced over the split.
        ranges: `(first, last, step)` for parameters whose range is not to be DeepLab's
            (`tfseg.inference.crf_search.DEEPLAB`).
        output: the pipeline file to write, `crf.yaml` in the run directory by default: the run's pipeline with
            `inference.crf` as it was found. Beside it, as `.json`, comes what is returned.
        overwrite: replace these two files.
        allow_plugins: import the plugins that the run's pipeline names.
        tell: is given a line of text for each setting that was tried.

    Returns:
        `crf`, and `before` and `after` it `miou` and `trimap_miou` by radius; what was `tried`, and on what.

    Raises:
        TfsegError: the run, its data or the output cannot be used.
    """
    run = run_dir if isinstance(run_dir, Run) else Run(run_dir, allow_plugins=allow_plugins)
    pipeline, split = run.pipeline, split or run.pipeline.data.validation_split
    file, tried_ranges = _output(run, output, overwrite), checked(ranges or {})
    _check(run, pipeline)
    frame = _frame(pipeline.inference.crf)
    tried: list[Setting] = []
    with TemporaryDirectory() as folder:
        found = _Found(Path(folder), pipeline.labels)
        found.fill(run, split, images, tell)
        before = found.figures()
        tell(f"without a CRF: mIoU {before['miou']:.4f}")
        started, limit = time.monotonic(), most(tried_ranges)

        def score(setting: Setting) -> float:
            miou = found.miou(Crf(**{**frame, "prune": frame["prune"] or NEGLIGIBLE, **setting}))
            tried.append({**setting, "miou": miou})
            left = (time.monotonic() - started) / len(tried) * (limit - len(tried)) / 60
            told = ", ".join(f"{name} {value:g}" for name, value in setting.items())
            tell(f"{len(tried)} of at most {limit}: {told}: mIoU {miou:.4f} (at most {left:.0f} minutes left)")
            return miou

        crf = Crf(**{**frame, **search(score, tried_ranges)})
        after = found.figures(crf)
    tuned = dump(replace(pipeline, inference=replace(pipeline.inference, crf=crf)))
    report = {
        "split": split,
        "images": found.count,
        "crf": {name: getattr(crf, name) for name in (*KERNELS, "normalization", "iterations", "prune")},
        "before": before,
        "after": after,
        "ranges": {name: list(steps) for name, steps in tried_ranges.items()},
        "tried": tried,
        "pipeline_sha256": sha256(dump(pipeline).encode()).hexdigest(),
        "versions": versions(),
    }
    write_text(file, tuned)
    write_text(file.with_suffix(".json"), json.dumps(report, indent=2) + "\n")
    return report


class _Found:
    """What the network finds in some images, in files: one image is in memory at a time.

    Args:
        folder: an empty folder; it takes `2 classes + channels + 4` bytes for each pixel.
        labels: the classes.
    """

    def __init__(self, folder: Path, labels: Labels) -> None:
        self.folder, self.labels, self.count = folder, labels, 0

    def fill(self, run: Run, split: str, images: int, tell: Tell) -> None:
        """Lets the network see evenly spaced images of a split, once each."""
        pipeline = run.pipeline
        data = pipeline.data.open(pipeline.labels)
        names = data.names(split)
        chosen = set(np.linspace(0, len(names) - 1, min(images, len(names))).round().astype(int).tolist())
        tell(f"{split}: {len(chosen)} of {len(names)} images")
        predictor = predictor_of(
            run.best, replace(pipeline.inference, crf=None), pipeline.seed, allow_plugins=bool(pipeline.plugins)
        )
        labeled = False
        with explained():
            for index, (image, mask) in enumerate(data.evaluation(split).as_numpy_iterator()):
                if index in chosen:
                    probabilities = predictor.probabilities(image[0], names[index]).astype(np.float16)
                    arrays = {"probabilities": probabilities[None], "image": image, "mask": mask}
                    np.savez(self.folder / f"{self.count}.npz", **arrays)
                    labeled = labeled or bool(np.any(mask != pipeline.labels.ignore))
                    self.count += 1
        if not labeled:
            raise RunError(
                f"{run.folder}: the images that were taken of the split {split!r}, {self.count} in number, have no "
                "labeled pixel to measure a CRF by. Choose another --split, or more --images."
            )

    def masks(self, crf: Crf | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each image the truth and the best classes."""
        for index in range(self.count):
            with np.load(self.folder / f"{index}.npz") as arrays:
                probabilities, image, truth = (arrays[name] for name in ("probabilities", "image", "mask"))
            if crf is not None:
                probabilities = crf(probabilities.astype(np.float32), image)
            yield truth, probabilities.argmax(-1).astype(np.int32)

    def miou(self, crf: Crf) -> float:
        """The mean intersection over union with a CRF."""
        metric = SegmentationMetrics(self.labels.count, self.labels.ignore)
        for pair in self.masks(crf):
            metric.update_state(*pair)
        return metric.report(self.labels.names)["miou"]

    def figures(self, crf: Crf | None = None) -> dict[str, Any]:
        """The same, and that near boundaries, with a CRF or without."""
        whole = SegmentationMetrics(self.labels.count, self.labels.ignore)
        trimap = TrimapMeanIoU(self.labels.count, ignore_label=self.labels.ignore)
        for pair in self.masks(crf):
            whole.update_state(*pair)
            trimap.update_state(*pair)
        return {"miou": whole.report(self.labels.names)["miou"], "trimap_miou": trimap.report()}


def _frame(own: Crf | None) -> dict[str, Any]:
    """What a search does not change."""
    if own is None:
        return {"iterations": 10, "normalization": "after", "prune": None}
    return {"iterations": own.iterations, "normalization": own.mode, "prune": own.prune}


def _output(run: Run, output: str | os.PathLike[str] | None, overwrite: bool) -> Path:
    """The pipeline file to write.

    Raises:
        RunError: it exists, or its name is not a pipeline's.
    """
    file = Path(output) if output else run.folder / TUNED
    if file.suffix not in (".yaml", ".yml"):
        raise RunError(f"{file}: a pipeline file ends in .yaml. Choose another --output.")
    for path in (file, file.with_suffix(".json")):
        if path.exists() and not overwrite:
            raise RunError(f"{path}: exists already. Choose another --output, or replace it with --overwrite.")
    return file


def _check(run: Run, pipeline: Pipeline) -> None:
    if not run.best.is_file():
        raise RunError(
            f"{run.folder}: has no {run.best.name} yet, because no epoch of its training has ended. Train it first: "
            f"tfseg fit FILE --run-dir {run.folder} --resume"
        )
    if (problem := channels_problem(pipeline.data.channels)) is not None:
        raise RunError(f"{run.folder}: a CRF cannot be tuned: {problem}")
