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

    The file is written anew and atomically after every epoch.

    Args:
        folder: Run directory.
        rows: Rows of the completed epochs, for a resumed training.
    """

    def __init__(self, folder: Path, rows: Sequence[dict[str, float]] = ()) -> None:
        super().__init__()
        self.path = Path(folder) / HISTORY
        self.rows = list(rows)
        self._begun = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begun = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        seconds = round(time.monotonic() - self._begun, 3)
        rate = float(self.model.optimizer.learning_rate)
        self.rows.append({"epoch": epoch + 1, "seconds": seconds, "learning_rate": rate, **metrics})
        table = io.StringIO()
        names = dict.fromkeys(name for row in self.rows for name in row)  # rows without validation have fewer keys
        writer = csv.DictWriter(table, fieldnames=list(names), restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        with writing(self.path, self.path.parent):
            write_text(self.path, table.getvalue())
