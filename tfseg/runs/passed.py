"""Datasets of runs: those of their pipelines, or data that are passed from Python."""

from dataclasses import replace
from functools import partial

from tfseg.data import AnyDataset, Dataset, Passed, PassedDataset
from tfseg.data.pair_checks import PairCheck
from tfseg.data.passed import open_part, open_training
from tfseg.data.streams import Log
from tfseg.pipeline import Pipeline
from tfseg.runs.directory import Run
from tfseg.runs.user_errors import user_errors


@user_errors()
def opened(
    pipeline: Pipeline, training: Passed | None, validation: Passed | None, log: Log
) -> tuple[Pipeline, AnyDataset | None]:
    """Returns the pipeline to record in the run, and the dataset of passed data, or None if there are none."""
    if training is None and validation is None:
        return pipeline, None
    spec, dataset = open_training(
        pipeline.data, pipeline.labels, pipeline.seed, pipeline.model.channels, training, validation, log
    )
    return replace(pipeline, data=spec), dataset


@user_errors()
def evaluated(
    run: Run | None, pipeline: Pipeline, data: Passed | AnyDataset | None, split: str, log: Log
) -> AnyDataset:
    """Returns the dataset to evaluate on: that of the pipeline, passed data, or one that is already open.

    The dataset of the run's own pipeline leaves out the examples that the run has skipped.
    """
    if data is None:
        same = run is not None and _same_files(run.pipeline, pipeline)
        return pipeline.data.open(pipeline.labels, skipped=run.skipped if run is not None and same else None)
    if isinstance(data, Dataset | PassedDataset):
        return data
    check = PairCheck("data", pipeline.model.channels, pipeline.labels)
    return open_part(data, check, pipeline.data, split, log=log)


def _same_files(first: Pipeline, second: Pipeline) -> bool:
    """Returns whether two pipelines read the same files, so that names mean the same examples."""
    return (first.data.source, first.data.root) == (second.data.source, second.data.root)


def progress(verbose: bool) -> Log:
    """Returns a function that prints a line if `verbose` is true."""
    return partial(print, flush=True) if verbose else lambda line: None
