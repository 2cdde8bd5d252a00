"""Search for the CRF parameters of a trained network, on held-out images."""

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
from tfseg.data import AnyDataset, Passed, explained
from tfseg.errors import RunError
from tfseg.exporting.bundle import versions
from tfseg.inference import Crf
from tfseg.inference.crf import KERNELS, channels_problem
from tfseg.inference.crf_search import Setting, checked_ranges, max_settings, search
from tfseg.labels import Labels
from tfseg.metrics import SegmentationMetrics, TrimapMeanIoU
from tfseg.pipeline import TUNED, Pipeline
from tfseg.runs.directory import Run
from tfseg.runs.passed import evaluated
from tfseg.runs.predictors import predictor_of
from tfseg.spec.show import dump

NEGLIGIBLE = 0.01
"""Default of `prune` during the search: classes below this probability at all pixels of an image are left out of
the CRF. This default does not affect the metrics `before` and `after`."""

Log = Callable[[str], None]


def tune_crf(
    run_dir: str | os.PathLike[str] | Run,
    split: str | None = None,
    *,
    data: Passed | AnyDataset | None = None,
    images: int = 100,
    ranges: Mapping[str, tuple[float, float, float]] | None = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    allow_plugins: bool = False,
    log: Log = lambda line: None,
) -> dict[str, Any]:
    """Searches for the CRF parameters that maximize the mIoU of a run's best network.

    The number of iterations, the normalization and pruning are those of the run's `inference.crf`, if there is one.
    The defaults are 10 iterations, the normalization `after` of DeepLab's code, and no pruning.

    Args:
        run_dir: Run directory.
        split: Name of the split to search on. Defaults to the validation split.
        data: Data to search on, instead of those of the run, as in `tfseg.evaluate`.
        images: Integer, number of images to use, evenly spaced over the split.
        ranges: Dict from parameter names to `(first, last, step)`. Defaults to DeepLab's ranges
            (`tfseg.inference.crf_search.DEEPLAB`).
        output: Path of the pipeline file to write, the run's pipeline with the best `inference.crf`. The returned
            report is saved beside it, as `.json`. Defaults to `crf.yaml` in the run directory.
        overwrite: Boolean, whether to replace these two files.
        allow_plugins: Boolean, whether to import the plugins that the run's pipeline lists.
        log: Function that is called with each line of progress, such as a setting and its mIoU.

    Returns:
        A dict with `crf`, its parameters; `before` and `after`, the `miou` and `trimap_miou` by radius without and
        with the CRF; `tried`, the mIoU of each setting; and the split, the ranges and versions used.

    Raises:
        TfsegError: If the run, its dataset or the output cannot be used.
    """
    run = run_dir if isinstance(run_dir, Run) else Run(run_dir, allow_plugins=allow_plugins)
    pipeline, split = run.pipeline, split or run.pipeline.data.validation_split
    file, steps = _output(run, output, overwrite), checked_ranges(ranges or {})
    _check(run, pipeline)
    fixed = _fixed_fields(pipeline.inference.crf)
    tried: list[Setting] = []
    with TemporaryDirectory() as folder:
        predictions = _Predictions(Path(folder), pipeline.labels)
        predictions.fill(run, evaluated(run, pipeline, data, split, log), split, images, log)
        before = predictions.metrics()
        log(f"without a CRF: mIoU {before['miou']:.4f}")
        started, limit = time.monotonic(), max_settings(steps)

        def score(setting: Setting) -> float:
            miou = predictions.miou(Crf(**{**fixed, "prune": fixed["prune"] or NEGLIGIBLE, **setting}))
            tried.append({**setting, "miou": miou})
            left = (time.monotonic() - started) / len(tried) * (limit - len(tried)) / 60
            values = ", ".join(f"{name} {value:g}" for name, value in setting.items())
            log(f"{len(tried)} of at most {limit}: {values}: mIoU {miou:.4f} (at most {left:.0f} minutes left)")
            return miou

        crf = Crf(**{**fixed, **search(score, steps)})
        after = predictions.metrics(crf)
    tuned = dump(replace(pipeline, inference=replace(pipeline.inference, crf=crf)))
    report = {
        "split": split,
        "images": predictions.count,
        "crf": {name: getattr(crf, name) for name in (*KERNELS, "normalization", "iterations", "prune")},
        "before": before,
        "after": after,
        "ranges": {name: list(values) for name, values in steps.items()},
        "tried": tried,
        "pipeline_sha256": sha256(dump(pipeline).encode()).hexdigest(),
        "versions": versions(),
    }
    write_text(file, tuned)
    write_text(file.with_suffix(".json"), json.dumps(report, indent=2) + "\n")
    return report


class _Predictions:
    """Predicted probabilities of some images, cached in files: one image is in memory at a time.

    Args:
        folder: Path of an empty folder. Its files take `2 classes + channels + 4` bytes per pixel.
        labels: Class names and ignore label.
    """

    def __init__(self, folder: Path, labels: Labels) -> None:
        self.folder, self.labels, self.count = folder, labels, 0

    def fill(self, run: Run, data: AnyDataset, split: str, images: int, log: Log) -> None:
        """Predicts evenly spaced images of a split, once each."""
        pipeline, names = run.pipeline, data.names(split)
        chosen = set(np.linspace(0, len(names) - 1, min(images, len(names))).round().astype(int).tolist())
        log(f"{split}: {len(chosen)} of {len(names)} images")
        predictor = predictor_of(
            run.best, replace(pipeline.inference, crf=None), pipeline.seed, allow_plugins=bool(pipeline.plugins)
        )
        labeled = False
        with explained():
            for index, (image, mask) in enumerate(data.native(split).as_numpy_iterator()):
                if index in chosen:
                    image = predictor.values.cast(image, names[index])
                    probabilities = predictor.probabilities(image[0], names[index]).astype(np.float16)
                    arrays = {
                        "probabilities": probabilities[None],
                        "image": predictor.values.shown(image),
                        "mask": mask,
                    }
                    np.savez(self.folder / f"{self.count}.npz", **arrays)
                    labeled = labeled or bool(np.any(mask != pipeline.labels.ignore))
                    self.count += 1
        if not labeled:
            raise RunError(
                f"{run.folder}: the images chosen from the split {split!r} ({self.count}) have no labeled pixels to "
                "evaluate a CRF on. Choose another --split, or more --images."
            )

    def masks(self, crf: Crf | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the label map and the predicted mask of each image."""
        for index in range(self.count):
            with np.load(self.folder / f"{index}.npz") as arrays:
                probabilities, image, truth = (arrays[name] for name in ("probabilities", "image", "mask"))
            if crf is not None:
                probabilities = crf(probabilities.astype(np.float32), image)
            yield truth, probabilities.argmax(-1).astype(np.int32)

    def miou(self, crf: Crf) -> float:
        """Computes the mIoU with a CRF."""
        metric = SegmentationMetrics(self.labels.count, self.labels.ignore)
        for pair in self.masks(crf):
            metric.update_state(*pair)
        return metric.report(self.labels.names)["miou"]

    def metrics(self, crf: Crf | None = None) -> dict[str, Any]:
        """Computes the mIoU and the trimap mIoU, with a CRF or without."""
        segmentation = SegmentationMetrics(self.labels.count, self.labels.ignore)
        trimap = TrimapMeanIoU(self.labels.count, ignore_label=self.labels.ignore)
        for pair in self.masks(crf):
            segmentation.update_state(*pair)
            trimap.update_state(*pair)
        return {"miou": segmentation.report(self.labels.names)["miou"], "trimap_miou": trimap.report()}


def _fixed_fields(own: Crf | None) -> dict[str, Any]:
    """Returns the fields of the CRF that are not searched."""
    if own is None:
        return {"iterations": 10, "normalization": "after", "prune": None}
    return {"iterations": own.iterations, "normalization": own.mode, "prune": own.prune}


def _output(run: Run, output: str | os.PathLike[str] | None, overwrite: bool) -> Path:
    """Returns the path of the pipeline file to write.

    Raises:
        RunError: If the file exists, or its suffix is not that of a pipeline file.
    """
    file = Path(output) if output else run.folder / TUNED
    if file.suffix not in (".yaml", ".yml"):
        raise RunError(f"{file}: is not the name of a pipeline file. Expected .yaml. Choose another --output.")
    for path in (file, file.with_suffix(".json")):
        if path.exists() and not overwrite:
            raise RunError(f"{path}: already exists. Choose another --output, or replace it with --overwrite.")
    return file


def _check(run: Run, pipeline: Pipeline) -> None:
    if not run.best.is_file():
        raise RunError(
            f"{run.folder}: has no {run.best.name}, because no epoch was completed. Train it first: "
            f"tfseg fit FILE --run-dir {run.folder} --resume"
        )
    if (problem := channels_problem(pipeline.data.channels)) is not None:
        raise RunError(f"{run.folder}: a CRF cannot be tuned: {problem}")
