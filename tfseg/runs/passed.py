"""Datasets of runs: those of their pipelines, or data that are passed from Python."""

from dataclasses import replace
from functools import partial

from tfseg.data import AnyDataset, Dataset, Passed, PassedDataset
from tfseg.data.pair_checks import PairCheck
from tfseg.data.passed import open_part, open_training
from tfseg.data.streams import Log
from tfseg.pipeline import Pipeline
from tfseg.runs.user_errors import user_errors


@user_errors()
def opened(
    pipeline: Pipeline, training: Passed | None, validation: Passed | None, log: Log
) -> tuple[Pipeline, AnyDataset]:
    """Returns the pipeline to record in the run, and the dataset to train on: that of the pipeline, or passed data."""
    if training is None and validation is None:
        return pipeline, pipeline.data.open(pipeline.labels, pipeline.seed)
    spec, dataset = open_training(
        pipeline.data, pipeline.labels, pipeline.seed, pipeline.model.channels, training, validation, log
    )
    return replace(pipeline, data=spec), dataset


@user_errors()
def evaluated(pipeline: Pipeline, data: Passed | AnyDataset | None, split: str, log: Log) -> AnyDataset:
    """Returns the dataset to evaluate on: that of the pipeline, passed data, or one that is already open."""
    if data is None:
        return pipeline.data.open(pipeline.labels)
    if isinstance(data, Dataset | PassedDataset):
        return data
    check = PairCheck("data", pipeline.model.channels, pipeline.labels)
    return open_part(data, check, pipeline.data, split, log=log)


def progress(verbose: bool) -> Log:
    """Returns a function that prints a line if `verbose` is true."""
    return partial(print, flush=True) if verbose else lambda line: None
