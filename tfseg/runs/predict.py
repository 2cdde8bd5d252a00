"""Prediction of masks for image files."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tfseg.inference import Inference, predict_files
from tfseg.runs.directory import Run, network, run_of
from tfseg.runs.predictors import Source, predictor_of
from tfseg.runs.user_errors import user_errors

Images = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def predict(
    source: Source,
    images: Images,
    output: str | os.PathLike[str],
    *,
    overlay: bool = False,
    legend: bool = False,
    inference: Inference | None = None,
    allow_plugins: bool = False,
) -> list[Path]:
    """Writes the predicted mask of every image, at the size of the image, as a palette (indexed) PNG.

    Args:
        source: Run directory, `.keras` file, SavedModel or `.tflite` file.
        images: Image file, folder of images or pattern such as `photos/**/*.jpg`, or a list of these.
        output: Folder for the masks, `<stem>.png`.
        overlay: Boolean, whether to also write each mask blended over its image, `<stem>-overlay.png`.
        legend: Boolean, whether to also write `legend.png`, with the color and name of each class.
        inference: Inference settings. Defaults to those of the run's pipeline.
        allow_plugins: Boolean, whether to import the plugins that the run's pipeline lists.

    Returns:
        The list of written files.

    Raises:
        DataError: If an image does not exist or cannot be read, or `output` cannot be created. Images that cannot be
            read are skipped and reported at the end.
        RunError: If there is no such network, or memory is exhausted.
    """
    written = iter_predict(
        source,
        images,
        output,
        overlay=overlay,
        legend=legend,
        inference=inference,
        allow_plugins=allow_plugins,
    )
    return list(written)


def iter_predict(
    source: Source,
    images: Images,
    output: str | os.PathLike[str],
    *,
    overlay: bool = False,
    legend: bool = False,
    inference: Inference | None = None,
    allow_plugins: bool = False,
) -> Iterator[Path]:
    """Yields the path of each file that `predict` writes, as soon as it is written."""
    run = source if isinstance(source, Run) else run_of(Path(source), allow_plugins=allow_plugins)
    pipeline = run.pipeline if run else None  # imports plugins, whose layers the network may contain
    path = source.best if isinstance(source, Run) else network(Path(source))
    settings = inference or (pipeline.inference if pipeline else Inference())
    predictor = predictor_of(path, settings, pipeline.seed if pipeline else 0, allow_plugins=allow_plugins)
    with user_errors("inference.size, or the images"):
        yield from predict_files(predictor, images, Path(output), overlay=overlay, legend=legend, spec=settings)
