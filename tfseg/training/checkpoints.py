"""The networks a training leaves: the last one, and the one that was best in validation."""

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
from tfseg.training.outputs import kept


class Checkpoints(keras.callbacks.Callback):
    """Writes `last.keras` after every epoch, and `model.keras` when `monitor` is higher than ever before.

    What is written is uncompiled and functional, of one output, so that `keras.models.load_model` needs nothing but
    `import tfseg.layers`.

    Args:
        folder: where both files lie.
        monitor: the logged figure that decides; the highest is the best.
        best: the highest value of an earlier part of this training.
        validated: the epochs, counted from 1, that end with a validation; None for all.

    Raises:
        RunError: from `fit`, if `monitor` is not logged, or a file cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        monitor: str = "val_miou",
        best: float = -math.inf,
        validated: Container[int] | None = None,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.monitor = monitor
        self.best = best
        self.validated = validated

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        expected = self.validated is None or epoch + 1 in self.validated
        value = (logs or {}).get(self.monitor)
        if value is None and expected:
            raise RunError(
                f"after epoch {epoch + 1}: the best network is chosen by `{self.monitor}`, which is not logged. "
                f"Received: {', '.join(sorted(logs or {})) or 'nothing'}. Give `fit` validation data"
            )
        save_model(self.model, self.folder / LAST)
        if value is not None and value > self.best:
            with writing(self.folder / BEST, self.folder), atomic_file(self.folder / BEST) as partial:
                shutil.copyfile(self.folder / LAST, partial)
            self.best = value


def save_model(model: keras.Model, path: Path) -> None:
    """Writes `model` to the `.keras` file `path`, uncompiled, of several outputs `logits` alone; whole or not at all.

    Raises:
        RunError: the file cannot be written, for example because the disk is full. An earlier one is as it was.
    """
    twin = kept(model)
    with unsynchronized(twin), writing(path, path.parent), atomic_file(path) as partial:
        twin.save(partial)


@contextmanager
def writing(path: Path, run: Path) -> Iterator[None]:
    """Turns what goes wrong while `path` in the run directory `run` is written into a `RunError`."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py has RuntimeErrors for a disk that is full
        earlier = "the earlier one is as it was" if Path(path).exists() else "nothing was left behind"
        then = "go on with --resume" if states(run) else "start again, since no epoch was finished"
        raise RunError(f"{path}: could not be written ({_reason(error)}); {earlier}. Make room, and {then}") from error


def _reason(error: BaseException) -> str:
    first = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
    return first.splitlines()[0]
