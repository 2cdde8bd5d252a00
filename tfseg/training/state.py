"""State of a training, for exact resumption."""

import hashlib
import json
import logging
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from tfseg.atomic import atomic_file
from tfseg.errors import RunError, one_line
from tfseg.training.checkpoints import Checkpoints, writing
from tfseg.training.files import STATE, states
from tfseg.training.history import History

MAX_TO_KEEP = 2
"""Number of state files to keep: the newest, and the previous one in case the newest is damaged."""
PROGRESS = "standing"
"""Name of the array with epoch, best value and history, as JSON."""
DIGITS = 16
"""Number of digits of the SHA-256 in the name of a state file."""


@dataclass(frozen=True)
class State:
    """Progress of a training, without its variables."""

    epoch: int = 0
    """Number of completed epochs."""
    best: float = -math.inf
    """Best value of the monitored metric so far."""
    rows: tuple[dict[str, float], ...] = ()
    """History of the completed epochs."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Parses the JSON `text`.

        Raises:
            ValueError: If it is not JSON, or not the progress of a training.
        """
        match json.loads(text):
            case {"epoch": int(epoch), "best": int() | float() as best, "rows": [*rows]} if len(rows) == epoch > 0:
                if all(isinstance(row, dict) and all(map(_is_number, row.values())) for row in rows):
                    return cls(epoch, best, tuple(rows))
        raise ValueError("the number of completed epochs is missing")


class Snapshots(keras.callbacks.Callback):
    """Callback that writes the state of a training to `state/<step>-<digits>.npz` after every epoch.

    The state consists of all variables of the network (including seed generators) and of the optimizer, the history,
    and the best value of the monitored metric. Order and augmentation of the examples are functions of seed and epoch.
    A resumed training takes the same steps as an uninterrupted one.

    `step` is the optimizer step. The digits are the first ones of the file's SHA-256, to detect damaged files. The two
    newest files are kept.

    Args:
        folder: Run directory.
        checkpoints: Callback with the best value of the monitored metric.
        history: Callback with the rows of the history.
    """

    def __init__(self, folder: Path, checkpoints: Checkpoints, history: History) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.checkpoints = checkpoints
        self.history = history

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        progress = {"epoch": epoch + 1, "best": self.checkpoints.best, "rows": list(self.history.rows)}
        arrays = {f"{index}": value.numpy() for index, value in enumerate(_variables(self.model))}
        arrays[PROGRESS] = np.array(json.dumps(progress))
        step = int(self.model.optimizer.iterations.numpy())  # `int` alone fails for a mirrored variable
        path = self.folder / STATE / f"{step}.npz"
        with (
            writing(path, self.folder),
            atomic_file(path, lambda partial: path.with_name(f"{step}-{_digest(partial)}.npz")) as partial,
        ):
            np.savez(partial, **arrays)  # type: ignore[arg-type]  # no array has the name of an option
        for old in states(self.folder)[MAX_TO_KEEP:]:
            old.unlink()


def restore(model: keras.Model, folder: Path) -> State:
    """Restores the variables of the compiled `model` and its optimizer from the newest state file.

    Damaged files are skipped with a warning.

    Returns:
        The progress of the training. If no epoch was completed, `State()`, and nothing is restored.

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
            logging.getLogger("tfseg").warning("%s. Resuming from the end of epoch %d", problem, state.epoch)
        _assign(path, _variables(model), arrays)
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
        state = State.read(str(archive[PROGRESS]))
        return state, [archive[f"{index}"] for index in range(len(archive.files) - 1)]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _assign(path: Path, variables: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
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
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
