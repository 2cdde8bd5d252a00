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
from tfseg.data import AnyDataset, Passed
from tfseg.errors import RunError
from tfseg.exporting.bundle import versions
from tfseg.inference import Inference, Predictor
from tfseg.inference.engines import MODELS
from tfseg.inference.measuring import Measurement
from tfseg.labels import names_problem
from tfseg.pipeline import Pipeline
from tfseg.runs.directory import METRICS, Run, network, run_of
from tfseg.runs.passed import evaluated, progress
from tfseg.runs.predictors import Source, predictor_of
from tfseg.runs.user_errors import user_errors
from tfseg.spec.show import dump
from tfseg.training.progress import verbosity


def evaluate(
    source: Source,
    split: str | None = None,
    *,
    data: Passed | AnyDataset | None = None,
    pipeline: Pipeline | None = None,
    inference: Inference | None = None,
    output: str | os.PathLike[str] | None = None,
    calibration: bool = False,
    allow_plugins: bool = False,
    verbose: bool = False,
) -> dict[str, Any]:
    """Evaluates a network on a split, at the native resolution of the images.

    Args:
        source: Run directory, `.keras` file, SavedModel or `.tflite` file.
        split: Name of the split. Defaults to the validation split. With `data`, a name for them; without one, their
            metrics are not saved in the run directory.
        data: Data to evaluate on, instead of those of a pipeline: a `tf.data.Dataset` or a pair of arrays, as for
            `tfseg.fit`, or an open dataset, as returned by `pipeline.data.open`.
        pipeline: Pipeline whose dataset is used. Defaults to that of the run.
        inference: Inference settings, for example `tfseg.load("runs/x/crf.yaml").inference`. Defaults to those of the
            run's pipeline or, outside of a run directory, to those of `pipeline`.
        output: Additional file for the metrics. If neither `pipeline` nor `inference` is given, the metrics of a
            run's best network are also saved in the run directory, as `metrics-<split>.json`.
        calibration: Boolean, whether to measure the expected calibration error, which needs the probabilities of all
            classes at each pixel.
        allow_plugins: Boolean, whether to import the plugins that the run's pipeline lists.
        verbose: Boolean, whether to show a progress bar.

    Returns:
        A dict, the contents of `metrics-<split>.json`: among others `skipped`, the number of invalid examples that the
        run leaves out, `miou`, `pixel_accuracy`, `mean_accuracy`,
        `frequency_weighted_iou`, `per_class` (IoU by class name; None for a class that occurs neither in the labels nor
        in the predictions), `boundary`: `iou` and `per_class` of `tfseg.metrics.BoundaryIoU`, and `trimap_miou` by
        radius, `per_image`: mean and percentiles of `tfseg.metrics.ImageMeanIoU`, and, with `calibration`, the error
        and the reliability curve of `tfseg.metrics.CalibrationError`.
    """
    run = source if isinstance(source, Run) else run_of(Path(source), allow_plugins=allow_plugins)
    described = pipeline or _pipeline_of(run, source)
    named = split is not None or data is None
    split = split or ("data" if data is not None else described.data.validation_split)
    if Path(split).name != split:
        raise ValueError(f"Expected `split` to be a name, since it is part of a file name. Received: {split!r}")
    path = source.best if isinstance(source, Run) else network(Path(source))
    own_pipeline = run.pipeline if run else described  # inference settings belong to the network, not to the dataset
    if output:
        check_writable(Path(output))
    settings = inference or own_pipeline.inference
    predictor = predictor_of(path, settings, own_pipeline.seed, allow_plugins=allow_plugins)
    _check_classes(predictor, path, described)
    dataset = evaluated(run, described, data, split, progress(verbose))
    check_values(predictor, path, dataset)
    report = _evaluate(predictor, described, dataset, split, calibration, verbose)
    own = run is not None and path == run.best and pipeline is None and inference is None and named
    files = [run.folder / METRICS.format(split=split)] if run and own else []
    for file in [*files, *([Path(output)] if output else [])]:
        write_text(file, json.dumps(report, indent=2) + "\n")
    return report


def _check_classes(predictor: Predictor, path: Path, pipeline: Pipeline) -> None:
    """Checks that a network fits the classes and channels of the pipeline whose dataset it is evaluated on."""
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


def check_values(predictor: Predictor, path: Path, data: AnyDataset) -> None:
    """Checks that a network fits the values of the images it is evaluated on.

    Raises:
        RunError: If the dtype of the images cannot be converted, or the range differs.
    """
    own, values = predictor.values, data.values
    if own.value_range != values.value_range or not np.can_cast(values.dtype, own.dtype):
        raise RunError(
            f"{path}: takes images of {own}. Received: images of {values}. Evaluate it with the `data.value_range` and "
            "the dtype of its training images."
        )


def _evaluate(
    predictor: Predictor, pipeline: Pipeline, data: AnyDataset, split: str, calibration: bool, verbose: bool
) -> dict[str, Any]:
    measurement, names = Measurement(pipeline.labels, calibration=calibration), data.names(split)
    progress = keras.utils.Progbar(len(names), verbose=verbosity(verbose), unit_name="image")

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for name, (image, mask) in zip(names, data.native(split).as_numpy_iterator(), strict=True):
            image = predictor.values.cast(image, name)
            yield (
                mask,
                predictor.probabilities(image[0], name)[None] if calibration else predictor.masks(image, (name,)),
            )
            progress.add(1)

    with user_errors("inference.size, or the images"):
        measurement.count(pairs())
    return {
        "split": split,
        "images": len(names),
        "skipped": data.skipped(split),
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
