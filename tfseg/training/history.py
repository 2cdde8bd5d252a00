"""Loss and metrics of every epoch as a CSV file."""

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from tfseg.atomic import write_text
from tfseg.training.checkpoints import writing
from tfseg.training.files import HISTORY


class History(keras.callbacks.Callback):
    """Callback that writes `history.csv`: one row per epoch (from 1) with duration, learning rate, loss and metrics.

    The file is written anew and atomically after every epoch, and when a training is resumed.

    Args:
        folder: Run directory.
        rows: Rows of the completed epochs, for a resumed training.
        seconds: Earlier duration of the first epoch, for a training that is resumed within it.
    """

    def __init__(self, folder: Path, rows: Sequence[dict[str, float]] = (), seconds: float = 0.0) -> None:
        super().__init__()
        self.path = Path(folder) / HISTORY
        self.rows = list(rows)
        self._earlier = seconds
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """Duration of the current epoch so far."""
        return round(self._earlier + time.monotonic() - self._begun, 3)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.rows:  # of a resumed training, whose file may be damaged
            self._write()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begun = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        rate = float(self.model.optimizer.learning_rate)
        self.rows.append({"epoch": epoch + 1, "seconds": self.seconds, "learning_rate": rate, **metrics})
        self._earlier = 0.0
        self._write()

    def _write(self) -> None:
        table = io.StringIO()
        names = dict.fromkeys(name for row in self.rows for name in row)  # rows without validation have fewer keys
        writer = csv.DictWriter(table, fieldnames=list(names), restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        with writing(self.path, self.path.parent):
            write_text(self.path, table.getvalue())
