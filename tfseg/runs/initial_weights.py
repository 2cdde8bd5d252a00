"""Initial weights from the network of another run."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

import keras
import numpy as np

from tfseg.errors import RunError, WeightsError
from tfseg.images import ImageValues
from tfseg.inference.engines import labels_of, load_model, values_of
from tfseg.models import class_axes
from tfseg.pipeline import Pipeline
from tfseg.runs.directory import run_of
from tfseg.spec.problems import formatted
from tfseg.training import source_file
from tfseg.weights import (
    Arrays,
    ClassAxes,
    Classes,
    WeightsReport,
    arrays_of,
    initialize,
    read_arrays,
    unfold_batch_norm,
)


def check_source(pipeline: Pipeline, folder: Path, *, restored: bool = False) -> None:
    """Checks that the initial weights can be read, and are not in the run directory `folder`, which is overwritten.

    Args:
        pipeline: Pipeline to train.
        folder: Run directory to write.
        restored: Boolean, whether the training continues from its own state and needs no initial weights.

    Raises:
        RunError: If they are.
        WeightsError: If they cannot be read.
    """
    source = pipeline.training.init_from
    if source is None or restored:
        return
    if folder.exists() and any(each.samefile(folder) for each in source_file(source).parents if each.exists()):
        raise RunError(
            f"training.init_from: {source} is in the run directory {folder}, whose files are deleted. Choose another "
            "folder with --run-dir."
        )
    if problems := formatted(pipeline.source_problems()):
        raise WeightsError(problems)


def initialized(
    pipeline: Pipeline, model: keras.Model, values: ImageValues, images: Iterable[np.ndarray]
) -> WeightsReport:
    """Fills `model` from `training.init_from` of the pipeline, as far as the weights fit.

    Args:
        pipeline: Pipeline with `training.init_from`.
        model: Network of the pipeline, for training.
        values: Values of the images of the run.
        images: Batches of training images, for restoring the statistics of folded BatchNorm layers.

    Raises:
        TfsegError: If the weights cannot be read, or fit no layer.
    """
    source: Path = pipeline.training.init_from  # type: ignore[assignment]
    file = source_file(source)
    labels = labels_of(file)
    names = None if labels is None else labels.names
    classes = Classes(pipeline.labels.names, names, _axes(pipeline, names))
    report = initialize(model, _arrays(pipeline, file), str(source), classes)
    if report.folded:
        unfold_batch_norm(model, images)
    return dataclasses.replace(report, images=_difference(None if labels is None else values_of(file), values))


def _axes(pipeline: Pipeline, names: tuple[str, ...] | None) -> Mapping[str, ClassAxes]:
    """Returns the layers that depend on the number of classes, if they must be known for a file with these classes."""
    if names == pipeline.labels.names:
        return {}
    try:
        return class_axes(pipeline.model, pipeline.labels)
    except WeightsError:
        if names is None:  # only the report would name these layers
            return {}
        raise


def _arrays(pipeline: Pipeline, file: Path) -> Arrays:
    if file.suffix != ".keras":
        return read_arrays(file)
    if pipeline.plugins and (run := run_of(file, allow_plugins=True)) is not None:
        run.pipeline  # noqa: B018  # imports plugins, whose layers the network may contain
    try:
        return arrays_of(load_model(file))
    except RunError as error:
        raise WeightsError(
            f"training.init_from: {error} Layers of plugins also require the plugins in this pipeline, under `plugins`."
        ) from error


def _difference(theirs: ImageValues | None, ours: ImageValues) -> str:
    """Returns a warning if the images of the weights had another range of values."""
    if theirs is None or theirs.value_range == ours.value_range:
        return ""
    return f"warning: the weights were trained on images of {theirs}, and this run has images of {ours}"
