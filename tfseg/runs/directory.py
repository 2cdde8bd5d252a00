"""The run directory, with the files:

model.keras  last.keras  pipeline.yaml  labels.json  metrics-<split>.json  history.csv  history.png  logs/
state/  crf.yaml  crf.json  skipped.json  average.keras  average.json  checkpoints/
"""

import csv
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import keras

from tfseg.errors import RunError
from tfseg.inference import engines
from tfseg.labels import LABELS
from tfseg.pipeline import PIPELINE, Pipeline, load
from tfseg.runs.skipped import Skipped, read_skipped
from tfseg.training.files import BEST, HISTORY

METRICS = "metrics-{split}.json"
RECORD = "crf.json"


class Run:
    """A run directory written by `tfseg.fit` or `tfseg.import_weights`.

    Args:
        folder: Path of the run directory.
        allow_plugins: Boolean, whether to import the modules that the run's pipeline lists under `plugins`.

    Raises:
        RunError: If the folder does not exist or contains no pipeline.
    """

    def __init__(self, folder: str | os.PathLike[str], *, allow_plugins: bool = False) -> None:
        self.folder = Path(folder)
        self._allow_plugins = allow_plugins
        if not (self.folder / PIPELINE).is_file():
            raise RunError(
                f"{self.folder}: is not a run directory. Expected the file {PIPELINE} in it. "
                f"Create one with: tfseg fit FILE --run-dir {self.folder}"
            )

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @cached_property
    def pipeline(self) -> Pipeline:
        """Pipeline of the run, with defaults filled in."""
        return load(self.folder / PIPELINE, allow_plugins=self._allow_plugins, look=False)

    @cached_property
    def skipped(self) -> Skipped:
        """Messages of the examples that the run leaves out, by split and name; from `skipped.json`."""
        return read_skipped(self.folder)

    @property
    def best(self) -> Path:
        """Path of the network with the best validation mIoU."""
        return self.folder / BEST

    def model(self, name: str = BEST) -> keras.Model:
        """Loads the network with the best validation mIoU or, with `name="last.keras"`, that of the last epoch."""
        if self._allow_plugins:
            self.pipeline  # noqa: B018  # imports plugins, whose layers the network may contain
        return load_model(self.folder / name)

    @property
    def metrics(self) -> dict[str, Any]:
        """Contents of the files `metrics-<split>.json`, by split."""
        files = sorted(self.folder.glob(METRICS.format(split="*")))
        return {file.stem.removeprefix("metrics-"): _read_metrics(file) for file in files}

    @property
    def history(self) -> list[dict[str, float]]:
        """Rows of `history.csv`, one per epoch."""
        file = self.folder / HISTORY
        if not file.is_file():
            return []
        try:
            with open(file, newline="", encoding="utf-8") as lines:
                return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(lines)]
        except (ValueError, TypeError, csv.Error) as error:
            raise RunError(f"{file}: is corrupt. Expected a table of numbers. Restore it or delete it.") from error


def _read_metrics(file: Path) -> dict[str, Any]:
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        metrics = None
    if not isinstance(metrics, dict):
        raise RunError(f"{file}: is corrupt. Expected a file written by `tfseg evaluate`. Delete it or evaluate again.")
    return metrics


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """Loads a `.keras` file, which may contain layers of tfseg, or the best network of a run directory.

    Args:
        path: Path of the file or of the run directory.

    Returns:
        A Keras model.

    Raises:
        RunError: If the file does not exist or Keras cannot read it.
    """
    path = network(Path(path))
    if not path.is_file():
        received = "a folder" if path.is_dir() else "a path that does not exist"
        raise RunError(f"{path}: is not a file. Expected a .keras file or a run directory. Received: {received}.")
    return engines.load_model(path)


def run_of(path: Path, *, allow_plugins: bool = False) -> Run | None:
    """Returns the run at `path`, or the run whose directory contains the file `path`, or None."""
    folder = path if path.is_dir() else path.parent
    return Run(folder, allow_plugins=allow_plugins) if (folder / PIPELINE).is_file() else None


def pipeline_of(path: Path) -> tuple[Path | None, Path]:
    """Returns a run directory and its pipeline file if `path` is one of the two, else None and `path`."""
    folder = path if path.is_dir() else path.parent
    is_run = path in (folder, folder / PIPELINE) and (folder / PIPELINE).is_file() and (folder / LABELS).is_file()
    return (folder, folder / PIPELINE) if is_run else (None, path)


def network(path: Path) -> Path:
    """Returns the file of the network: the best network if `path` is a run directory, else `path` itself."""
    return path / BEST if (path / PIPELINE).is_file() else path
