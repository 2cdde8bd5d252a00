"""Masks of images, as files."""

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
    """Writes the mask of every image, at the image's own size, as an index PNG with palette.

    Args:
        source: a run directory, a `.keras` file, a SavedModel or a `.tflite` file.
        images: files to predict, folders of them, or patterns such as `photos/**/*.jpg`; one or several.
        output: the folder for the masks: `<stem>.png`.
        overlay: write each mask over its image as well: `<stem>-overlay.png`.
        legend: write the colors of the classes and their names as well: `legend.png`.
        inference: how the network is put to use; by default as the run's pipeline says.
        allow_plugins: import the plugins that the run's pipeline names.

    Returns:
        The files that were written.

    Raises:
        DataError: an image is missing, or some could not be read; the others are predicted then.
        RunError: there is no such network, the folder cannot be written, or memory runs out.
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
    """As `predict`, one file after another: yields each as soon as it is written."""
    run = source if isinstance(source, Run) else run_of(Path(source), allow_plugins=allow_plugins)
    pipeline = run.pipeline if run else None  # imports plugins, whose layers the network may have
    path = source.best if isinstance(source, Run) else network(Path(source))
    use = inference or (pipeline.inference if pipeline else Inference())
    predictor = predictor_of(path, use, pipeline.seed if pipeline else 0, allow_plugins=allow_plugins)
    with user_errors("inference.size, or the images"):
        yield from predict_files(predictor, images, Path(output), overlay=overlay, legend=legend, spec=use)
