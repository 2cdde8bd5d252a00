"""Callback that saves the state of a training: after every epoch, at intervals, and before it stops at a signal."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.training.checkpoint import Checkpoint
from tfseg.training.checkpoints import Checkpoints
from tfseg.training.duration import Duration
from tfseg.training.history import History
from tfseg.training.signals import Signals
from tfseg.training.state import State, metric_values, restore_metrics, save


class Snapshots(keras.callbacks.Callback):
    """Callback that saves the state of a training, from which a resumed one takes the same steps as an unbroken one.

    The state consists of all variables of the network (including seed generators), of the optimizer and of the metrics,
    the position, the history, and the best value of the monitored metric. Order and augmentation of the examples are
    functions of seed and epoch.

    States are saved between two batches. A signal that arrives during a validation stops it, and the state before the
    validation is saved.

    Args:
        folder: Run directory.
        checkpoints: Callback with the best value of the monitored metric.
        history: Callback with the rows of the history.
        length: Duration of the training.
        state: State from which the training is resumed.
        interval: Interval between two states, or None for states after epochs only.
        signals: Signals before whose delivery to save the state, or None.
    """

    def __init__(
        self,
        folder: Path,
        checkpoints: Checkpoints,
        history: History,
        length: Duration,
        *,
        state: State | None = None,
        interval: Checkpoint | None = None,
        signals: Signals | None = None,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.checkpoints, self.history, self.length = checkpoints, history, length
        self.state, self.interval, self.signals = state or State(), interval, signals or Signals()
        self._epoch = self._batches = self._saved_steps = 0
        self._saved_at = 0.0
        self._metrics: tuple[np.ndarray, ...] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._saved_at = time.monotonic()
        self._saved_steps = self._steps(self.state.epoch, self.state.batch)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.signals.deliver()
        self._epoch, self._batches, self._metrics = epoch, 0, None
        if self.state.batch and epoch == self.state.epoch:
            self._batches = self.state.batch
            restore_metrics(self.model, self.state.metrics)  # Keras has just reset them

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch and (self.signals.received or self._is_due(batch)):
            self._save(self._inside(self.history.rows, batch))
        self.signals.deliver()
        self._batches = batch + self.model.steps_per_execution

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._metrics = metric_values(self.model)  # of the training batches; Keras resets them for the validation

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.signals.received:
            self.model.stop_evaluating = True

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.signals.received:
            self._save(self._inside(self.history.rows, self._batches))
            self.signals.deliver()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        rows = tuple(self.history.rows)
        if self._batches < self.length.batches_per_epoch:  # the end of this training, but not of a longer one
            self._save(self._inside(rows[:-1], self._batches))
        else:
            self._save(State(len(rows), best=self.checkpoints.best, rows=rows))

    def _inside(self, rows: Sequence[dict[str, float]], batch: int) -> State:
        """Returns the state after some batches of an epoch."""
        metrics = metric_values(self.model) if self._metrics is None else self._metrics
        return State(len(rows), batch, self.history.seconds, self.checkpoints.best, tuple(rows), metrics)

    def _save(self, state: State) -> None:
        save(self.model, self.folder, state)
        self._saved_at = time.monotonic()
        self._saved_steps = self._steps(state.epoch, state.batch)

    def _steps(self, epoch: int, batch: int) -> int:
        """Returns the number of optimizer steps before a batch, without waiting for the device."""
        return (epoch * self.length.batches_per_epoch + batch) // self.length.accumulate

    def _is_due(self, batch: int) -> bool:
        if self.interval is None:
            return False
        minutes, steps = self.interval.minutes, self.interval.steps
        if minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes:
            return True
        return steps is not None and self._steps(self._epoch, batch) // steps > self._saved_steps // steps
