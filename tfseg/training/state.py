"""What a training that was stopped needs to go on as if it had not been."""

import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.atomic import atomic_file
from tfseg.errors import RunError
from tfseg.training.checkpoints import Checkpoints, writing
from tfseg.training.files import STATE
from tfseg.training.history import History

FILE = Path(STATE) / "state.npz"


@dataclass(frozen=True)
class State:
    """Where a training stands, beside its variables."""

    epoch: int = 0
    """How many epochs are done."""
    best: float = -math.inf
    """The highest validation figure so far."""
    rows: tuple[dict[str, float], ...] = ()
    """The history of the epochs done."""


class Snapshots(keras.callbacks.Callback):
    """Writes everything that changes during a training to `state/state.npz` after every epoch.

    That is all variables of the network, those of its random generators among them, all variables of the optimiser,
    the history, and the best figure. The order and the look of the examples follow from seed and epoch. A training
    that goes on from here takes the same steps as one that was never stopped.

    Args:
        folder: the run directory.
        checkpoints: knows the best figure.
        history: knows the rows.
    """

    def __init__(self, folder: Path, checkpoints: Checkpoints, history: History) -> None:
        super().__init__()
        self.path = Path(folder) / FILE
        self.checkpoints = checkpoints
        self.history = history

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        standing = {"epoch": epoch + 1, "best": self.checkpoints.best, "rows": list(self.history.rows)}
        arrays = {f"{index}": value.numpy() for index, value in enumerate(_variables(self.model))}
        with writing(self.path), atomic_file(self.path) as partial:
            np.savez(partial, standing=np.array(json.dumps(standing)), **arrays)


def restore(model: keras.Model, folder: Path) -> State:
    """Gives the compiled `model` and its optimiser the variables of an earlier part of this training.

    Returns:
        Where that training stands; `State()`, and nothing is changed, if it did not finish an epoch.

    Raises:
        RunError: the file is damaged, or belongs to another network or optimiser.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return State()
    try:
        with np.load(path, allow_pickle=False) as archive:
            standing = json.loads(str(archive["standing"]))
            arrays = [archive[f"{index}"] for index in range(len(archive.files) - 1)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{path}: is not a state that a training can go on from ({error}). Start afresh with --overwrite"
        ) from error
    _assign(path, _variables(model), arrays)
    return State(epoch=standing["epoch"], best=standing["best"], rows=tuple(standing["rows"]))


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
            f"{path}: was written by another network or optimiser. Received: {where}. Resume with the pipeline that "
            "the run was started with, or start afresh with --overwrite"
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
