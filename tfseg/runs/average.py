"""Average of the networks of the last epochs of a run."""

import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import keras

from tfseg.atomic import atomic_file, remove, write_text
from tfseg.data import AnyDataset
from tfseg.errors import RunError
from tfseg.pipeline import Pipeline
from tfseg.runs.directory import Run
from tfseg.training import average_weights, save_model
from tfseg.training.checkpoints import MONITOR, writing
from tfseg.training.files import AVERAGE, AVERAGE_REPORT, BEST, CHECKPOINTS, checkpoints

Rows = Sequence[Mapping[str, float]]
"""Rows of the history of a training."""


def average_checkpoints(
    pipeline: Pipeline, data: AnyDataset, run: Run, rows: Rows, measure: Callable[[keras.Model], None]
) -> str | None:
    """Averages the networks in `checkpoints/` and makes the average `model.keras` if its `val_miou` is higher.

    Writes `average.keras` and, when it is complete, `average.json`. If an interrupted run is resumed after that,
    nothing is computed again. The networks in `checkpoints/` are deleted at the end.

    Args:
        pipeline: Pipeline of the run.
        data: Its data.
        run: Run, after the last epoch.
        rows: History of the training.
        measure: Function that re-estimates the batch normalization statistics of a network.

    Returns:
        A message with the result, or None if there was nothing to average.
    """
    result = _report(run.folder)
    if result is None or result["epochs"][-1] != int(rows[-1]["epoch"]):  # that of a run before it was extended
        result = _write(pipeline, data, run, rows, measure)
    if result is None:
        return None
    if result["selected"]:
        with writing(run.folder / BEST, run.folder), atomic_file(run.folder / BEST) as partial:
            shutil.copyfile(run.folder / AVERAGE, partial)
    remove(run.folder / CHECKPOINTS)
    decision = "saved as model.keras" if result["selected"] else "model.keras remains the network of that epoch"
    return (
        f"Average of the networks of {len(result['epochs'])} epochs ({result['epochs'][0]} to {result['epochs'][-1]}): "
        f"val_miou {result['val_miou']:.4f}, best epoch ({result['best_epoch']}): {result['best_val_miou']:.4f}; "
        f"{decision}"
    )


def selected_average(folder: Path) -> float:
    """Returns the `val_miou` of the average that became `model.keras`, for a run that is extended; else -inf."""
    result = _report(folder)
    return float(result[MONITOR]) if result is not None and result["selected"] else -math.inf


def _report(folder: Path) -> dict[str, Any] | None:
    """Returns the report of an average, or None if there is no valid one."""
    try:
        result = json.loads((folder / AVERAGE_REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    complete = isinstance(result, dict) and {"epochs", MONITOR, "selected"} <= result.keys() and result["epochs"]
    return result if complete else None


def _write(
    pipeline: Pipeline, data: AnyDataset, run: Run, rows: Rows, measure: Callable[[keras.Model], None]
) -> dict[str, Any] | None:
    """Writes the average and its report, and returns the report; None if there are no two networks to average."""
    epochs: list[int] = []
    networks = _networks(run, list(checkpoints(run.folder))[-pipeline.training.average_checkpoints :], epochs)
    if (first := next(networks, None)) is None:
        return None
    average = average_weights(chain([first], networks))
    if len(epochs) < 2:
        return None
    measure(average)
    save_model(average, run.folder / AVERAGE)
    value = validated(pipeline, data, average)
    best = max((row for row in rows if MONITOR in row), key=lambda row: row[MONITOR])
    if (earlier := _report(run.folder)) is not None and selected_average(run.folder) > best[MONITOR]:
        best = {"epoch": earlier["epochs"][-1], MONITOR: earlier[MONITOR]}
    if pipeline.training.batch_norm_batches:  # the statistics of the best network were re-estimated too
        best = {**best, MONITOR: validated(pipeline, data, run.model())}
    result = {
        "epochs": epochs,
        MONITOR: value,
        "best_epoch": int(best["epoch"]),
        f"best_{MONITOR}": best[MONITOR],
        "selected": value > best[MONITOR],
    }
    write_text(run.folder / AVERAGE_REPORT, json.dumps(result, indent=2) + "\n")
    return result


def _networks(run: Run, numbers: list[int], epochs: list[int]) -> Iterator[keras.Model]:
    """Yields the networks of the epochs `numbers`, and adds their epochs to `epochs`. Skips unreadable ones."""
    for number in numbers:
        try:
            network = run.model(f"{CHECKPOINTS}/{number}.keras")
        except RunError as error:
            logging.getLogger("tfseg").warning("%s The network of epoch %d is not averaged", error, number)
            continue
        epochs.append(number)
        yield network


def validated(pipeline: Pipeline, data: AnyDataset, model: keras.Model) -> float:
    """Returns the `val_miou` of a network, computed as after every epoch of the training."""
    batches = data.evaluation(pipeline.data.validation_split)
    metric = pipeline.training.validation_metric(pipeline.labels, mixed=data.annotated is not None)
    for image, mask in batches:
        metric.update_state(mask, model.predict_on_batch(image))
    return float(metric.result()[MONITOR.removeprefix("val_")])
