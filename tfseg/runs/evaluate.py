"""Evaluation of a network on a split."""

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
from tfseg.runs.skipped import Skipped
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
    """Evaluates a network on a split, at the native resolution of the images.

    Args:
        source: Run directory, `.keras` file, SavedModel or `.tflite` file.
        split: Name of the split. Defaults to the validation split.
        pipeline: Pipeline whose dataset is used. Defaults to that of the run.
        inference: Inference settings, for example `tfseg.load("runs/x/crf.yaml").inference`. Defaults to those of the
            run's pipeline or, outside of a run directory, to those of `pipeline`.
        output: Additional file for the metrics. If neither `pipeline` nor `inference` is given, the metrics of a
            run's best network are also saved in the run directory, as `metrics-<split>.json`.
        allow_plugins: Boolean, whether to import the plugins that the run's pipeline lists.
        verbose: Boolean, whether to show a progress bar.

    Returns:
        A dict, the contents of `metrics-<split>.json`: among others `skipped`, the number of invalid examples that the
        run leaves out, `miou`, `pixel_accuracy`, `mean_accuracy`,
        `frequency_weighted_iou`, `per_class` (IoU by class name; None for a class that occurs neither in the labels nor
        in the predictions) and `boundary`: `iou` and `per_class` of `tfseg.metrics.BoundaryIoU`, and `trimap_miou` by
        radius.
    """
    run = source if isinstance(source, Run) else run_of(Path(source), allow_plugins=allow_plugins)
    evaluated = pipeline or _pipeline_of(run, source)
    split = split or evaluated.data.validation_split
    path = source.best if isinstance(source, Run) else network(Path(source))
    own_pipeline = run.pipeline if run else evaluated  # inference settings belong to the network, not to the dataset
    if output:
        check_writable(Path(output))
    settings = inference or own_pipeline.inference
    predictor = predictor_of(path, settings, own_pipeline.seed, allow_plugins=allow_plugins)
    skipped = run.skipped if run is not None and _same_data(run.pipeline, evaluated) else {}
    report = _evaluate(predictor, path, evaluated, split, skipped, verbose)
    own = run is not None and path == run.best and pipeline is None and inference is None
    files = [run.folder / METRICS.format(split=split)] if run and own else []
    for file in [*files, *([Path(output)] if output else [])]:
        write_text(file, json.dumps(report, indent=2) + "\n")
    return report


def _same_data(first: Pipeline, second: Pipeline) -> bool:
    """Returns whether two pipelines read the same files, so that names mean the same examples."""
    return (first.data.source, first.data.root) == (second.data.source, second.data.root)


def _evaluate(
    predictor: Predictor, path: Path, pipeline: Pipeline, split: str, skipped: Skipped, verbose: bool
) -> dict[str, Any]:
    labels = pipeline.labels
    received, expected = (predictor.classes, predictor.channels), (labels.count, pipeline.data.channels)
    if received != expected:
        raise RunError(
            f"{path}: predicts {received[0]} classes from {received[1]}-channel images. Received: a pipeline with "
            f"{expected[0]} classes and {expected[1]} channels. Evaluate it with the pipeline it was trained with."
        )
    if (problem := names_problem(predictor.labels, labels)) is not None:
        raise RunError(
            f"{path}: {problem}, as in the pipeline it is evaluated with. Use the labels of the training in that "
            "pipeline, in the same order."
        )
    data, measurement = pipeline.data.open(labels, skipped=skipped), Measurement(labels)
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
        "skipped": len(skipped.get(split, {})),
        **measurement.report(),
        "pipeline_sha256": sha256(dump(pipeline).encode()).hexdigest(),
        "versions": versions(),
    }


def _pipeline_of(run: Run | None, source: Source) -> Pipeline:
    if run is None and not isinstance(source, Run) and not Path(source).exists():
        raise RunError(f"{source}: no such model. Expected {MODELS}.")
    if run is None:
        raise RunError(
            f"{source}: has no pipeline, which defines the dataset. Expected a run directory, or a pipeline as well "
            "(--pipeline FILE)."
        )
    return run.pipeline
