"""What a training that was stopped needs to go on as if it had not been."""

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

KEPT = 2
"""State files that stay: the newest, and the one before in case that is damaged."""
STANDING = "standing"
DIGITS = 16


@dataclass(frozen=True)
class State:
    """Where a training stands, beside its variables."""

    epoch: int = 0
    """How many epochs are done."""
    best: float = -math.inf
    """The highest validation figure so far."""
    rows: tuple[dict[str, float], ...] = ()
    """The history of the epochs done."""

    @classmethod
    def read(cls, text: str) -> Self:
        """What `text` says, in JSON.

        Raises:
            ValueError: it is no JSON, or does not say where a training stands.
        """
        found = json.loads(text)
        match found:
            case {"epoch": int(epoch), "best": int() | float() as best, "rows": [*rows]} if len(rows) == epoch > 0:
                if all(isinstance(row, dict) and all(map(_is_number, row.values())) for row in rows):
                    return cls(epoch, best, tuple(rows))
        raise ValueError("it does not say after which epoch it was written")


class Snapshots(keras.callbacks.Callback):
    """Writes everything that changes during a training to `state/<step>-<digits>.npz` after every epoch.

    That is all variables of the network, those of its random generators among them, all variables of the optimizer,
    the history, and the best figure. The order and the look of the examples follow from seed and epoch. A training
    that goes on from here takes the same steps as one that was never stopped.

    `step` is the optimizer's; the digits are the first of the file's SHA-256, by which a damaged file is recognized.
    The two newest files stay.

    Args:
        folder: the run directory.
        checkpoints: knows the best figure.
        history: knows the rows.
    """

    def __init__(self, folder: Path, checkpoints: Checkpoints, history: History) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.checkpoints = checkpoints
        self.history = history

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        standing = {"epoch": epoch + 1, "best": self.checkpoints.best, "rows": list(self.history.rows)}
        arrays = {f"{index}": value.numpy() for index, value in enumerate(_variables(self.model))}
        arrays[STANDING] = np.array(json.dumps(standing))
        step = int(self.model.optimizer.iterations.numpy())  # of a mirrored one `int` alone would not be known
        path = self.folder / STATE / f"{step}.npz"
        with (
            writing(path, self.folder),
            atomic_file(path, lambda partial: path.with_name(f"{step}-{_digest(partial)}.npz")) as partial,
        ):
            np.savez(partial, **arrays)  # type: ignore[arg-type]  # no array is called like an option
        for old in states(self.folder)[KEPT:]:
            old.unlink()


def restore(model: keras.Model, folder: Path) -> State:
    """Gives the compiled `model` and its optimizer the variables of an earlier part of this training.

    A damaged file is left out with a warning, and the one before it is taken.

    Returns:
        Where that training stands; `State()`, and nothing is changed, if it did not finish an epoch.

    Raises:
        RunError: every file is damaged, or they belong to another network or optimizer.
    """
    damaged = []
    for path in states(folder):
        try:
            state, arrays = _read(path)
        except DAMAGES as error:
            damaged.append(f"{path}: is not a state that a training can go on from ({one_line(error)})")
            continue
        for fault in damaged:
            logging.getLogger("tfseg").warning("%s. The training goes on from the end of epoch %d", fault, state.epoch)
        _assign(path, _variables(model), arrays)
        for newer in states(folder):
            if newer == path:
                break
            newer.unlink()  # damaged, and it would count as one of the two that are kept
        return state
    if damaged:
        raise RunError("\n".join(f"{fault}. Start afresh with --overwrite" for fault in damaged))
    return State()


DAMAGES = (
    OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError,
    SyntaxError, RecursionError,
)  # fmt: skip
"""What reading a file of any content may raise."""


def _read(path: Path) -> tuple[State, list[np.ndarray]]:
    if _digest(path) != path.stem.partition("-")[2]:
        raise ValueError("its content is not what was written")
    with np.load(path, allow_pickle=False) as archive:
        state = State.read(str(archive[STANDING]))
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
    found = [array.shape for array in arrays]
    if shapes != found:
        where = f"{len(found)} variables instead of {len(shapes)}"
        if len(shapes) == len(found):
            index = next(index for index, shape in enumerate(shapes) if shape != found[index])
            where = f"{variables[index].path} of shape {found[index]} instead of {shapes[index]}"
        raise RunError(
            f"{path}: was written by another network or optimizer. Received: {where}. Resume with the pipeline that "
            "the run was started with, or start afresh with --overwrite"
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
