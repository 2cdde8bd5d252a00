"""Curves of loss, mIoU and learning rate over the epochs, as a PNG file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from PIL import Image

from tfseg.atomic import atomic_file
from tfseg.images.chart import Curve, Panel, chart
from tfseg.training.checkpoints import writing
from tfseg.training.files import CURVES
from tfseg.training.history import History

TRAINING, VALIDATION, RATE = (232, 150, 46), (24, 72, 150), (90, 90, 90)
"""Colors, which also differ in brightness."""


class Curves(keras.callbacks.Callback):
    """Callback that draws the rows of the history to `history.png` after every epoch.

    The file depends on the rows only, so that of a resumed training equals that of an uninterrupted one.

    Args:
        folder: Run directory.
        history: Callback with the rows. It must precede this one.
        name: Title.
    """

    def __init__(self, folder: Path, history: History, name: str) -> None:
        super().__init__()
        self.path = Path(folder) / CURVES
        self.history = history
        self.name = name

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.history.rows:  # of a resumed training, whose file may be damaged
            self._write()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._write()

    def _write(self) -> None:
        with writing(self.path, self.path.parent), atomic_file(self.path) as partial:
            curves(self.name, self.history.rows).save(partial)


def curves(name: str, rows: Sequence[Mapping[str, float]]) -> Image.Image:
    """Draws loss and mIoU of training and validation, and the learning rate, over the epochs.

    Args:
        name: Title.
        rows: Rows of the history. Those of epochs without validation have no validation metrics.
    """
    best = _best(rows)
    panels = (
        Panel("loss", _pair(rows, "loss")),
        Panel(
            "mIoU",
            _pair(rows, "miou"),
            note=f"best {best[1]:.3f} in epoch {best[0]:.0f}" if best else "",
            marked=best,
        ),
        Panel("learning rate", (Curve("", _points(rows, "learning_rate"), RATE),), from_zero=True),
    )
    return chart(name, panels, "epoch")


def _pair(rows: Sequence[Mapping[str, float]], key: str) -> tuple[Curve, Curve]:
    return (
        Curve("training", _points(rows, key), TRAINING),
        Curve("validation", _points(rows, f"val_{key}"), VALIDATION, width=2.5),
    )


def _points(rows: Sequence[Mapping[str, float]], key: str) -> tuple[tuple[float, float], ...]:
    return tuple((row["epoch"], row[key]) for row in rows if key in row)


def _best(rows: Sequence[Mapping[str, float]]) -> tuple[float, float] | None:
    """Returns the first epoch with the highest validation mIoU, and that mIoU."""
    found = [point for point in _points(rows, "val_miou") if math.isfinite(point[1])]
    return max(found, key=lambda point: point[1], default=None)
