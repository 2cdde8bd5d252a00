"""A run directory from weights that were trained elsewhere."""

import os
from pathlib import Path

from tfseg.atomic import atomic_file, write_text
from tfseg.errors import RunError
from tfseg.inference.engines import labels_of
from tfseg.labels import LABELS, labels_text, names_problem
from tfseg.models import Segmenter
from tfseg.pipeline import Pipeline
from tfseg.runs.directory import PIPELINE
from tfseg.runs.lock import claim
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
    """Makes a finished run of a pipeline's network and foreign weights, to evaluate, predict with and export.

    Args:
        pipeline: what `tfseg.load` returned.
        weights: an `.npz` of named arrays, a `.tflite` or `.keras` file, or a TensorFlow checkpoint. Names may be
            those of TF-slim (DeepLab's authors), of Model Garden, or the network's own, which for backbones of
            `keras.applications` are theirs.
        run_dir: the folder to write.
        overwrite: delete what an earlier run left in `run_dir`.

    Returns:
        What matched and what did not.

    Raises:
        TfsegError: the weights do not fit the network or cannot be read, or `run_dir` cannot be used. Then an earlier
            run is untouched.
    """
    folder = Path(run_dir)
    with claim(folder, pipeline, resume=False, overwrite=overwrite) as claimed:
        if (problem := names_problem(labels_of(Path(weights)), pipeline.labels)) is not None:
            raise RunError(f"{weights}: {problem}, as in the pipeline. Give that the labels of the weights, in order.")
        arrays = read_arrays(Path(weights))
        model = pipeline.build()
        if faults := formatted(pipeline.deployment_problems(model)):
            raise RunError(faults)
        report = fill(model, arrays, str(weights), required=_backbone_layers(pipeline), classes=pipeline.labels.count)
        claimed.begin()
        write_text(folder / PIPELINE, dump(pipeline))
        write_text(folder / LABELS, labels_text(pipeline.labels))
        with atomic_file(folder / BEST) as partial:
            model.save(partial)
        (folder / STATE).mkdir()
        claimed.finish()
    return report


def _backbone_layers(pipeline: Pipeline) -> frozenset[str]:
    """The names of the layers that the backbone makes; none where the network is written layer by layer."""
    network = pipeline.model
    return network.backbone.layer_names(network.channels) if isinstance(network, Segmenter) else frozenset()
