"""Conversion of the dataset of a pipeline to other formats."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras

from tfseg.atomic import write_text
from tfseg.data.convert import to_tfrecord
from tfseg.data.convert.rasters import with_rasters
from tfseg.pipeline import PIPELINE, Pipeline
from tfseg.runs.user_errors import user_errors
from tfseg.spec.show import dump
from tfseg.training.progress import verbosity


def convert(
    pipeline: Pipeline,
    output: str | os.PathLike[str],
    *,
    splits: Sequence[str] = (),
    shards: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    verbose: bool = True,
) -> Path:
    """Writes the dataset of a pipeline as TFRecord files, and a pipeline file that reads them.

    Args:
        pipeline: Pipeline.
        output: Path of the folder to write.
        splits: Names of the splits to convert. Defaults to all.
        shards: Number of files per split. Defaults to one per 1000 examples.
        overwrite: Boolean, whether to delete the files of an earlier conversion.
        resume: Boolean, whether to keep the complete files of an earlier conversion of the same data.
        verbose: Boolean, whether to show a progress bar.

    Returns:
        Path of the pipeline file, `pipeline.yaml` in the folder.

    Raises:
        TfsegError: As `tfseg.data.convert.to_tfrecord`.
    """
    data = with_rasters(pipeline.data.open(pipeline.labels, pipeline.seed))
    total = sum(data.count(split) for split in splits or data.splits)
    progress = keras.utils.Progbar(total, verbose=verbosity(verbose), unit_name="image")
    with user_errors("--shards, or the images"):
        found = to_tfrecord(
            data,
            output,
            splits=splits,
            shards=shards,
            overwrite=overwrite,
            resume=resume,
            advance=progress.add,
        )
    file = Path(output) / PIPELINE
    write_text(file, dump(replace(pipeline, data=replace(found, root=Path()))))
    return file
