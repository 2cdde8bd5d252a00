"""Checkpoints of a training: the last network and the best one in validation."""

import math
import shutil
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from tfseg.atomic import atomic_file
from tfseg.errors import RunError
from tfseg.training.files import BEST, LAST, states
from tfseg.training.freezing import unsynchronized
from tfseg.training.outputs import single_output

MONITOR = "val_miou"
"""Metric by which the best network is selected."""


class Checkpoints(keras.callbacks.Callback):
    """Callback that saves `last.keras` after every epoch, and `model.keras` when `monitor` improves.

    The saved models are Functional, uncompiled and have one output, so `keras.models.load_model` only requires `import
    tfseg.layers`.

    Args:
        folder: Run directory.
        monitor: Name of the metric to monitor. Higher is better.
        best: Float, initial best value of the metric, for a resumed training.
        validated: Epochs, counted from 1, that end with a validation. None for all epochs.

    Raises:
        RunError: From `fit`, if `monitor` is not logged or a file cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        monitor: str = MONITOR,
        best: float = -math.inf,
        validated: Container[int] | None = None,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.monitor = monitor
        self.best = best
        self.validated = validated

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        validates = self.validated is None or epoch + 1 in self.validated
        value = (logs or {}).get(self.monitor)
        if value is None and validates:
            raise RunError(
                f"after epoch {epoch + 1}: the best network is selected by `{self.monitor}`, which is not logged. "
                f"Received: {', '.join(sorted(logs or {})) or 'nothing'}. Pass `validation_data` to `fit`"
            )
        save_model(self.model, self.folder / LAST)
        if value is not None and value > self.best:
            with writing(self.folder / BEST, self.folder), atomic_file(self.folder / BEST) as partial:
                shutil.copyfile(self.folder / LAST, partial)
            self.best = value


def save_model(model: keras.Model, path: Path) -> None:
    """Saves `model` atomically to the `.keras` file `path`, uncompiled and with the output `logits` only.

    Raises:
        RunError: If the file cannot be written, for example because the disk is full. An existing file is unchanged.
    """
    network = single_output(model)
    with unsynchronized(network), writing(path, path.parent), atomic_file(path) as partial:
        network.save(partial)


@contextmanager
def writing(path: Path, run: Path) -> Iterator[None]:
    """Context that raises a `RunError` for errors in writing `path` of the run directory `run`."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py raises RuntimeError for a full disk
        earlier = "the existing file is unchanged" if Path(path).exists() else "no partial file was left"
        then = "continue with --resume" if states(run) else "start again, since no epoch was completed"
        raise RunError(
            f"{path}: could not be written ({_reason(error)}); {earlier}. Free disk space, and {then}"
        ) from error


def _reason(error: BaseException) -> str:
    first = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
    return first.splitlines()[0]
