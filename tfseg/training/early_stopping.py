"""Early stopping: a training ends when the best network has not improved for some validations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import keras
from pydantic import Field

from tfseg.spec.declare import spec
from tfseg.training.checkpoints import MONITOR
from tfseg.training.history import History


@spec
class EarlyStopping:
    """Early stopping by `val_miou`, as `keras.callbacks.EarlyStopping`."""

    patience: Annotated[int, Field(ge=1)] = 10
    """Number of validations in a row without improvement after which the training ends."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """Smallest improvement that counts. mIoU is between 0 and 1."""

    def progress(self, rows: Sequence[Mapping[str, float]]) -> "EarlyStoppingProgress":
        """Returns the progress after the epochs of a history. Epochs without validation are ignored.

        Args:
            rows: Rows of the history, with the keys `epoch` and, after a validation, `val_miou`.
        """
        best, best_epoch, waited = -math.inf, 0, 0
        for row in rows:
            if (value := row.get(MONITOR)) is None:
                continue
            improved = value - self.min_delta > best
            best, best_epoch, waited = (value, int(row["epoch"]), 0) if improved else (best, best_epoch, waited + 1)
            if waited >= self.patience:
                return EarlyStoppingProgress(best, best_epoch, waited, int(row["epoch"]))
        return EarlyStoppingProgress(best, best_epoch, waited, None)


@dataclass(frozen=True)
class EarlyStoppingProgress:
    """Progress of a training with early stopping."""

    best: float
    """Best value of `val_miou`; smaller improvements than `min_delta` do not count."""
    best_epoch: int
    """Epoch with this value, counted from 1."""
    waited: int
    """Number of validations since then."""
    stopped: int | None
    """Epoch after which the training ends, or None."""

    def __str__(self) -> str:
        return (
            f"Early stopping after epoch {self.stopped}: val_miou has not improved for {self.waited} validations; its "
            f"best value is {self.best:.4f}, of epoch {self.best_epoch}"
        )


class StopEarly(keras.callbacks.Callback):
    """Callback that ends the training early. It needs no state but the history, so a resumed training ends equally.

    Args:
        early_stopping: Its settings.
        history: Callback with the rows of the history, which precedes this one.
    """

    def __init__(self, early_stopping: EarlyStopping, history: History) -> None:
        super().__init__()
        self.early_stopping = early_stopping
        self.history = history

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.early_stopping.progress(self.history.rows).stopped is not None:
            self.model.stop_training = True
