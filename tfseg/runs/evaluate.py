"""A network measured on a split."""

import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.atomic import check_writable, write_text
from tfseg.errors import RunError
from tfseg.exporting.bundle import versions
from tfseg.inference import Inference, Predictor
from tfseg.inference.engines import MODELS
from tfseg.inference.measuring import Measurement
from tfseg.labels import names_problem
from tfseg.pipeline import Pipeline
from tfseg.runs.directory import METRICS, Run, network, run_of
from tfseg.runs.predictors import Source, predictor_of
from tfseg.runs.user_errors import user_errors
from tfseg.spec.show import dump
from tfseg.training.progress import verbosity


def evaluate(
    source: Source,
    split: str | None = None,
    *,
    pipeline: Pipeline | None = None,
    inference: Inference | None = None,
    output: str | os.PathLike[str] | None = None,
    allow_plugins: bool = False,
    verbose: bool = False,
) -> dict[str, Any]:
    """Measures a network on a split, every image at its own size.

    Args:
        source: a run directory, a `.keras` file, a SavedModel or a `.tflite` file.
        split: by default the split that validated the training.
        pipeline: whose data to measure on; by default that of the run.
        inference: how the network is put to use, such as `tfseg.load("runs/x/crf.yaml").inference`; by default as the
            run's pipeline says, or else `pipeline`.
        output: a further file for the result. A run keeps what was measured on its own data, in its own way, as
            `metrics-<split>.json`.
        allow_plugins: import the plugins that the run's pipeline names.
        verbose: show progress.

    Returns:
        What `metrics-<split>.json` holds: `miou`, `pixel_accuracy`, `mean_accuracy`, `frequency_weighted_iou`,
        `per_class`, where a class that neither truth nor prediction has is None, and `boundary`: `iou` and `per_class`
        of `tfseg.metrics.BoundaryIoU`, and `trimap_miou` by radius.
    """
    run = source if isinstance(source, Run) else run_of(Path(source), allow_plugins=allow_plugins)
    measured = pipeline or _pipeline_of(run, source)
    split = split or measured.data.validation_split
    path = source.best if isinstance(source, Run) else network(Path(source))
    how = run.pipeline if run else measured  # how to use a network is its own affair
    if output:
        check_writable(Path(output))
    predictor = predictor_of(path, inference or how.inference, how.seed, allow_plugins=allow_plugins)
    report = _measure(predictor, path, measured, split, verbose)
    own = run is not None and path == run.best and pipeline is None and inference is None
    files = [run.folder / METRICS.format(split=split)] if run and own else []
    for file in [*files, *([Path(output)] if output else [])]:
        write_text(file, json.dumps(report, indent=2) + "\n")
    return report


def _measure(predictor: Predictor, path: Path, pipeline: Pipeline, split: str, verbose: bool) -> dict[str, Any]:
    labels = pipeline.labels
    received, expected = (predictor.classes, predictor.channels), (labels.count, pipeline.data.channels)
    if received != expected:
        raise RunError(
            f"{path}: tells {received[0]} classes apart in images of {received[1]} channels. Received: a pipeline of "
            f"{expected[0]} classes and {expected[1]} channels. Measure it with the pipeline that it was trained with."
        )
    if (problem := names_problem(predictor.labels, labels)) is not None:
        raise RunError(
            f"{path}: {problem}, as in the pipeline whose data measure it. Give that pipeline the labels of the "
            "training, in their order."
        )
    data, measurement = pipeline.data.open(labels), Measurement(labels)
    names = data.names(split)
    progress = keras.utils.Progbar(len(names), verbose=verbosity(verbose), unit_name="image")

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for name, (image, mask) in zip(names, data.evaluation(split).as_numpy_iterator(), strict=True):
            yield mask, predictor.masks(image, (name,))
            progress.add(1)

    with user_errors("inference.size, or the images"):
        measurement.count(pairs())
    return {
        "split": split,
        "images": len(names),
        **measurement.report(),
        "pipeline_sha256": sha256(dump(pipeline).encode()).hexdigest(),
        "versions": versions(),
    }


def _pipeline_of(run: Run | None, source: Source) -> Pipeline:
    if run is None and not isinstance(source, Run) and not Path(source).exists():
        raise RunError(f"{source}: no such model. Expected {MODELS}.")
    if run is None:
        raise RunError(
            f"{source}: does not say which data to measure it on. Expected a run directory, or a pipeline as well "
            "(--pipeline FILE)."
        )
    return run.pipeline
