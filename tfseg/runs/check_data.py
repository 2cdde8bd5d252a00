"""Checks of the dataset of a pipeline, with the files of `tfseg data check`."""

import json
from pathlib import Path

from tfseg.atomic import check_writable, write_text
from tfseg.data.doctor import Report, Use, examine
from tfseg.data.doctor.sheet import write_sheet
from tfseg.pipeline import Pipeline
from tfseg.training.progress import image_bar

WEIGHTS = "training.loss.class_weights"


def check_data(
    pipeline: Pipeline, *, json_: Path | None = None, sheet: Path | None = None, verbose: bool = False
) -> Report:
    """Examines the training and the validation split of a pipeline.

    Args:
        pipeline: Pipeline.
        json_: File for the report, as JSON.
        sheet: PNG file for a contact sheet of the examples of the findings. Not written if there are none.
        verbose: Boolean, whether to show a progress bar in a terminal.

    Returns:
        The `Report`.

    Raises:
        RunError: If a file cannot be written.
    """
    for file in filter(None, (json_, sheet)):
        check_writable(file)
    data = pipeline.data.open(pipeline.labels, pipeline.seed)
    report = examine(data, _use(pipeline), image_bar(verbose))
    if json_:
        write_text(json_, json.dumps(report.as_json(), indent=2) + "\n")
    if sheet:
        write_sheet(sheet, data, report)
    return report


def _use(pipeline: Pipeline) -> Use:
    """Returns the properties of the pipeline on which proposals depend."""
    unset = getattr(pipeline.training.loss, "class_weights", "") is None  # not all losses have class weights
    return Use(pipeline.model.crop_grid, WEIGHTS if unset else None)
