"""Files with the state of a training, for exact resumption."""

import hashlib
import json
import logging
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from tfseg.atomic import atomic_file
from tfseg.errors import RunError, one_line
from tfseg.training.checkpoints import writing
from tfseg.training.files import STATE, states

MAX_TO_KEEP = 2
"""Number of state files to keep: the newest, and the previous one in case the newest is damaged."""
PROGRESS = "standing"
"""Name of the array with the position, the best value and the history, as JSON."""
METRIC = "metric"
"""Start of the names of arrays with the variables of metrics."""
DIGITS = 16
"""Number of digits of the SHA-256 in the name of a state file."""


@dataclass(frozen=True)
class State:
    """Progress of a training, without the variables of the network and the optimizer."""

    epoch: int = 0
    """Number of completed epochs."""
    batch: int = 0
    """Number of batches of the next epoch on which the network is trained already."""
    seconds: float = 0.0
    """Duration of these batches."""
    best: float = -math.inf
    """Best value of the monitored metric so far."""
    rows: tuple[dict[str, float], ...] = ()
    """History of the completed epochs."""
    metrics: tuple[np.ndarray, ...] = field(default=(), compare=False)
    """Variables of the metrics, for the batches of an incomplete epoch."""

    @property
    def position(self) -> str:
        """Position in the training, for messages."""
        if self.batch:
            return f"batch {self.batch} of epoch {self.epoch + 1}"
        return f"the end of epoch {self.epoch}"

    @classmethod
    def read(cls, text: str, metrics: Sequence[np.ndarray] = ()) -> Self:
        """Parses the JSON `text`.

        Raises:
            ValueError: If it is not JSON, or not the progress of a training.
        """
        match json.loads(text):
            case {"epoch": int(epoch), "best": int() | float() as best, "rows": [*rows], **more} if len(rows) == epoch:
                if all(isinstance(row, dict) and all(map(_is_number, row.values())) for row in rows):
                    match more.get("batch", 0), more.get("seconds", 0.0):  # not in files of earlier versions
                        case int(batch), int() | float() as seconds if batch >= 0 and epoch + batch > 0:
                            return cls(epoch, batch, seconds, best, tuple(rows), tuple(metrics))
        raise ValueError("the number of completed epochs is missing")


def save(model: keras.Model, folder: Path, state: State) -> None:
    """Saves the variables of the compiled `model` and its optimizer, and the progress, to `state/<step>-<digits>.npz`.

    The two newest files are kept.

    Raises:
        RunError: If the file cannot be written. Existing files are unchanged.
    """
    progress = {"epoch": state.epoch, "batch": state.batch, "seconds": state.seconds, "best": state.best}
    arrays = {f"{index}": value.numpy() for index, value in enumerate(_variables(model))}
    arrays |= {f"{METRIC}{index}": value for index, value in enumerate(state.metrics)}
    arrays[PROGRESS] = np.array(json.dumps({**progress, "rows": state.rows}))
    step = int(model.optimizer.iterations.numpy())  # `int` alone fails for a mirrored variable
    path = folder / STATE / f"{step}.npz"
    with (
        writing(path, folder),
        atomic_file(path, lambda partial: path.with_name(f"{step}-{_digest(partial)}.npz")) as partial,
    ):
        np.savez(partial, **arrays)  # type: ignore[arg-type]  # no array has the name of an option
    for old in states(folder)[MAX_TO_KEEP:]:
        old.unlink()


def metric_values(model: keras.Model) -> tuple[np.ndarray, ...]:
    """Returns the values of the variables of all metrics of the compiled `model`, each `[replicas, …]`."""
    return tuple(np.stack([part.numpy() for part in _replicas(variable)]) for variable in model.metrics_variables)


def restore_metrics(model: keras.Model, values: Sequence[np.ndarray]) -> None:
    """Sets the variables of all metrics of the compiled `model`, for another number of replicas to equal sums."""
    for variable, value in zip(model.metrics_variables, values, strict=True):
        parts = _replicas(variable)
        if len(parts) != len(value):
            value = np.stack([value.sum(axis=0, dtype=value.dtype), *[np.zeros_like(value[0])] * (len(parts) - 1)])
        for part, each in zip(parts, value, strict=True):
            part.assign(each)


def _replicas(variable: Any) -> Sequence[Any]:
    """Returns the variables of the replicas, which a strategy sums when it reads the variable of a metric."""
    return getattr(variable.value, "values", (variable.value,))


def restore(model: keras.Model, folder: Path) -> State:
    """Restores the variables of the compiled `model` and its optimizer from the newest state file.

    Damaged files are skipped with a warning.

    Returns:
        The progress of the training. If no state was saved, `State()`, and nothing is restored.

    Raises:
        RunError: If all state files are damaged, or if they belong to another network or optimizer.
    """
    damaged = []
    for path in states(folder):
        try:
            state, arrays = _read(path)
        except READ_ERRORS as error:
            damaged.append(f"{path}: is not a valid training state ({one_line(error)})")
            continue
        for problem in damaged:
            logging.getLogger("tfseg").warning("%s. Resuming from %s", problem, state.position)
        metrics = model.metrics_variables if state.batch else ()
        _check(path, (*_variables(model), *metrics), (*arrays, *(each[0] for each in state.metrics)))
        for variable, array in zip(_variables(model), arrays, strict=True):
            variable.assign(array)
        for newer in states(folder):
            if newer == path:
                break
            newer.unlink()  # damaged; it would count as one of the two files to keep
        return state
    if damaged:
        raise RunError("\n".join(f"{problem}. Start again with --overwrite" for problem in damaged))
    return State()


READ_ERRORS = (
    OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError,
    SyntaxError, RecursionError,
)  # fmt: skip
"""Exceptions that reading a file of arbitrary content may raise."""


def _read(path: Path) -> tuple[State, list[np.ndarray]]:
    if _digest(path) != path.stem.partition("-")[2]:
        raise ValueError("the checksum does not match")
    with np.load(path, allow_pickle=False) as archive:
        metrics = sum(name.startswith(METRIC) for name in archive.files)
        state = State.read(str(archive[PROGRESS]), [archive[f"{METRIC}{index}"] for index in range(metrics)])
        return state, [archive[f"{index}"] for index in range(len(archive.files) - 1 - metrics)]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _check(path: Path, variables: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
    shapes = [tuple(variable.shape) for variable in variables]
    received = [array.shape for array in arrays]
    if shapes != received:
        difference = f"Expected {len(shapes)} variables. Received: {len(received)}"
        if len(shapes) == len(received):
            index = next(index for index, shape in enumerate(shapes) if shape != received[index])
            difference = f"Expected {variables[index].path} of shape {shapes[index]}. Received: {received[index]}"
        raise RunError(
            f"{path}: does not match the network or the optimizer. {difference}. Resume with the pipeline of the "
            "run, or start again with --overwrite"
        )
