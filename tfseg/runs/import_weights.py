"""Creation of a run directory from pretrained weights."""

import os
from pathlib import Path

from tfseg.atomic import atomic_file, write_text
from tfseg.data import explained
from tfseg.errors import RunError
from tfseg.images import EIGHT_BITS, ImageValues
from tfseg.images.values import values_fields
from tfseg.inference.engines import labels_of
from tfseg.labels import LABELS, labels_text, names_problem
from tfseg.models import Segmenter
from tfseg.pipeline import Pipeline
from tfseg.runs.directory import PIPELINE
from tfseg.runs.lock import lock_run
from tfseg.spec.problems import formatted
from tfseg.spec.show import dump
from tfseg.training.files import BEST, STATE
from tfseg.weights import WeightsReport, fill, read_arrays


def import_weights(
    pipeline: Pipeline,
    weights: str | os.PathLike[str],
    run_dir: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> WeightsReport:
    """Creates a finished run from a pipeline's network and pretrained weights, for evaluation, prediction and export.

    Args:
        pipeline: Pipeline, as returned by `tfseg.load`.
        weights: Path of an `.npz` of named arrays, a `.tflite` or `.keras` file, or a TensorFlow checkpoint. The
            weights have the names of TF-slim, of Model Garden, of the Caffe ResNets, of `keras.applications` or of the
            network itself.
        run_dir: Path of the run directory to write.
        overwrite: Boolean, whether to delete an earlier run in `run_dir`.

    Returns:
        A `WeightsReport` of the matched and unmatched layers and weights.

    Raises:
        TfsegError: If the weights cannot be read or do not fit the network, or `run_dir` cannot be used. An earlier
            run is left unchanged.
    """
    folder = Path(run_dir)
    with lock_run(folder, pipeline, resume=False, overwrite=overwrite) as lock:
        if (problem := names_problem(labels_of(Path(weights)), pipeline.labels)) is not None:
            raise RunError(
                f"{weights}: {problem}, as in the pipeline. Use the labels of the weights in the pipeline, in the same "
                "order."
            )
        values = _values(pipeline)
        arrays = read_arrays(Path(weights))
        model = pipeline.build()
        if problems := formatted(pipeline.deployment_problems(model)):
            raise RunError(problems)
        report = fill(model, arrays, str(weights), required=_backbone_layers(pipeline), classes=pipeline.labels.count)
        lock.begin()
        write_text(folder / PIPELINE, dump(pipeline))
        write_text(folder / LABELS, labels_text(pipeline.labels, values_fields(values)))
        with atomic_file(folder / BEST) as partial:
            model.save(partial)
        (folder / STATE).mkdir()
        lock.finish()
    return report


def _values(pipeline: Pipeline) -> ImageValues:
    """Returns dtype and range of the images; the dtype is that of the first training image."""
    if pipeline.data.value_range is not None and not pipeline.data.is_there:
        raise RunError(
            "data.value_range: the dtype of the images is read from the first training image, but data.root is not "
            "set or no folder. Add data.root=FOLDER to the command."
        )
    with explained():
        return pipeline.data.open(pipeline.labels).values if pipeline.data.value_range else EIGHT_BITS


def _backbone_layers(pipeline: Pipeline) -> frozenset[str]:
    """Returns the names of the backbone's layers; the empty set for a graph of layers."""
    network = pipeline.model
    return network.backbone.layer_names(network.channels) if isinstance(network, Segmenter) else frozenset()
