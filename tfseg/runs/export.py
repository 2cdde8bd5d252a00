"""Export of a run's best network as a SavedModel and a TFLite file."""

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from tfseg.data import Data, Shapes, explained
from tfseg.exporting import Report
from tfseg.exporting import export as export_model
from tfseg.images import ImageValues
from tfseg.inference import read_image
from tfseg.inference.engines import values_of
from tfseg.inference.files import image_files
from tfseg.pipeline import Pipeline, load
from tfseg.runs.directory import PIPELINE, Run
from tfseg.runs.skipped import Skipped
from tfseg.runs.user_errors import user_errors
from tfseg.spec.show import dump

NOT_EXPORTED = ("samples", "proposals", "ensemble", "crf")
"""Inference settings that exports do not support."""
SYNTHETIC_SIZE = (256, 256)
"""Default height and width of the synthetic images."""

SIDE_LIMITS = (16, 2048)
"""Smallest and largest side of the synthetic images."""


def export(
    source: str | os.PathLike[str] | Run,
    output: str | os.PathLike[str] = "saved_models",
    overrides: Sequence[str] = (),
    *,
    images: Sequence[str | os.PathLike[str]] = (),
    allow_plugins: bool = False,
) -> Report:
    """Exports a run's best network to `<output>/<name>/<version>/`, as a SavedModel and a TFLite file.

    The artifacts are loaded by a process that cannot import tfseg or Keras. They are moved into place only if their
    outputs match those of the network on validation images. Without the dataset, for example after `tfseg import`,
    synthetic images are used.

    Args:
        source: Path of the run directory, or a `Run`.
        output: Base folder of the exported models.
        overrides: List of overrides of the run's pipeline, for example `["export.tolerance=1e-3"]`.
        images: Image files, folders or glob patterns: images to compare the outputs on, instead of validation images.
        allow_plugins: Boolean, whether to import the plugins that the run's pipeline lists.

    Returns:
        A `Report` with the paths of the artifacts and their comparison with the network.

    Raises:
        TfsegError: If the network cannot be exported, an artifact does not match it, or a file cannot be read or
            written.
    """
    run = source if isinstance(source, Run) else Run(source, allow_plugins=allow_plugins)
    file = run.folder / PIPELINE
    pipeline = load(file, overrides, allow_plugins=allow_plugins, look=False) if overrides else run.pipeline
    values = values_of(run.best)
    given = [read_image(path, pipeline.data.channels, values) for path in image_files(images)]
    synthetic = not given and not pipeline.data.is_there
    metadata = {"pipeline": dump(pipeline), "metrics": run.metrics}
    omitted = [name for name in NOT_EXPORTED if getattr(pipeline.inference, name) is not None]
    spec = replace(pipeline.export, examples=len(given)) if given else pipeline.export
    with user_errors("export.tflite.size, inference.size, or the images"):
        report = export_model(
            run.model(),
            pipeline.labels,
            Path(output),
            pipeline.name,
            spec=spec,
            images=given or _examples(_with_synthetic_data(pipeline) if synthetic else pipeline, run.skipped, values),
            inference_size=pipeline.inference.sides,
            metadata=metadata,
            values=values,
        )
    return replace(report, synthetic=synthetic, omitted=tuple(f"inference.{name}" for name in omitted))


def _examples(pipeline: Pipeline, skipped: Skipped, values: ImageValues) -> list[np.ndarray]:
    """Reads the first validation images that the run does not leave out; synthetic ones get the dtype of `values`."""
    data = pipeline.data.open(pipeline.labels, skipped=skipped)
    split = pipeline.data.validation_split
    with explained():
        images = [image[0] for image, _ in islice(data.native(split).as_numpy_iterator(), pipeline.export.examples)]
    if pipeline.data.value_range is None:
        return [values.unmapped(image) for image in images]
    return [values.cast(image, name) for name, image in zip(data.names(split), images, strict=False)]


def _with_synthetic_data(pipeline: Pipeline) -> Pipeline:
    """Returns the pipeline with a dataset of synthetic images, which have the inference size or else the crop size."""
    size = pipeline.inference.sides or pipeline.data.crop_size or SYNTHETIC_SIZE
    height, width = np.clip(size, *SIDE_LIMITS).tolist()
    shapes = Shapes(size=(height, width), channels=pipeline.data.channels, val=pipeline.export.examples)
    return replace(pipeline, data=Data(source=shapes))
