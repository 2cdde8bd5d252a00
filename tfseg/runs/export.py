"""A run's best network as a SavedModel and a TFLite file."""

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from tfseg.data import Data, Shapes, explained
from tfseg.exporting import Report
from tfseg.exporting import export as export_model
from tfseg.inference import read_image
from tfseg.inference.files import image_files
from tfseg.pipeline import Pipeline, load
from tfseg.runs.directory import PIPELINE, Run
from tfseg.runs.user_errors import user_errors
from tfseg.spec.show import dump

NOT_EXPORTED = ("samples", "proposals", "ensemble", "crf")
"""What `inference` says and no artifact does."""
SCENE = (256, 256)
"""Height and width of the scenes that artifacts are compared on where nothing says a size."""

DRAWABLE = (16, 2048)
"""The least and the largest side of a scene."""


def export(
    source: str | os.PathLike[str] | Run,
    output: str | os.PathLike[str] = "saved_models",
    overrides: Sequence[str] = (),
    *,
    images: Sequence[str | os.PathLike[str]] = (),
    allow_plugins: bool = False,
) -> Report:
    """Writes a run's best network to `<output>/<name>/<version>/`, as SavedModel and TFLite.

    Each artifact is loaded by a process that knows nothing of tfseg and must compute what the network computes on
    validation images; only then is it moved into place. Where the run's data are not there, as after an import, drawn
    scenes take their place.

    Args:
        source: a run directory.
        output: where the folder of the model's name is, or will be.
        overrides: changes to the run's pipeline, such as `"export.tolerance=1e-3"`.
        images: files, folders or patterns of the images to compare on instead.
        allow_plugins: import the plugins that the run's pipeline names.
    """
    run = source if isinstance(source, Run) else Run(source, allow_plugins=allow_plugins)
    file = run.folder / PIPELINE
    pipeline = load(file, overrides, allow_plugins=allow_plugins, look=False) if overrides else run.pipeline
    given = [read_image(path, pipeline.data.channels) for path in image_files(images)]
    drawn = not given and not pipeline.data.is_there
    metadata = {"pipeline": dump(pipeline), "metrics": run.metrics}
    left_out = [name for name in NOT_EXPORTED if getattr(pipeline.inference, name) is not None]
    spec = replace(pipeline.export, examples=len(given)) if given else pipeline.export
    with user_errors("export.tflite.size, inference.size, or the images"):
        report = export_model(
            run.model(),
            pipeline.labels,
            Path(output),
            pipeline.name,
            spec=spec,
            images=given or _examples(_scenes(pipeline) if drawn else pipeline),
            seen=pipeline.inference.sides,
            metadata=metadata,
        )
    return replace(report, drawn=drawn, left_out=tuple(f"inference.{name}" for name in left_out))


def _examples(pipeline: Pipeline) -> list[np.ndarray]:
    """The first validation images."""
    dataset = pipeline.data.open(pipeline.labels).evaluation(pipeline.data.validation_split)
    with explained():
        return [image[0] for image, _ in islice(dataset.as_numpy_iterator(), pipeline.export.examples)]


def _scenes(pipeline: Pipeline) -> Pipeline:
    """The pipeline with drawn scenes in the place of its data, of the size of its crop."""
    height, width = (np.clip(pipeline.inference.sides or pipeline.data.crop_size or SCENE, *DRAWABLE)).tolist()
    scenes = Shapes(size=(height, width), channels=pipeline.data.channels, val=pipeline.export.examples)
    return replace(pipeline, data=Data(source=scenes))
