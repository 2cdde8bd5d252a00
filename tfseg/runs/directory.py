"""What a run leaves on disk.

model.keras  last.keras  pipeline.yaml  labels.json  metrics-<split>.json  history.csv  logs/  state/
crf.yaml  crf.json
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
from tfseg.training.files import BEST, HISTORY

METRICS = "metrics-{split}.json"
RECORD = "crf.json"


class Run:
    """A run directory that `fit` or `import` wrote.

    Args:
        folder: the run directory.
        allow_plugins: whether the modules that its pipeline names under `plugins` may be imported.

    Raises:
        RunError: the folder is missing, or holds no pipeline.
    """

    def __init__(self, folder: str | os.PathLike[str], *, allow_plugins: bool = False) -> None:
        self.folder = Path(folder)
        self._allow_plugins = allow_plugins
        if not (self.folder / PIPELINE).is_file():
            raise RunError(
                f"{self.folder}: is no run directory. Expected the file {PIPELINE} in it. "
                f"Make one with: tfseg fit FILE --run-dir {self.folder}"
            )

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline as it was trained, defaults filled in."""
        return load(self.folder / PIPELINE, allow_plugins=self._allow_plugins, look=False)

    @property
    def best(self) -> Path:
        """The file of the network with the best validation mIoU."""
        return self.folder / BEST

    def model(self, name: str = BEST) -> keras.Model:
        """The network with the best validation mIoU, or with `name="last.keras"` the one of the last epoch."""
        if self._allow_plugins:
            self.pipeline  # noqa: B018  # imports plugins, whose layers the network may have
        return load_model(self.folder / name)

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of every `metrics-<split>.json`, by split."""
        files = sorted(self.folder.glob(METRICS.format(split="*")))
        return {file.stem.removeprefix("metrics-"): _metrics(file) for file in files}

    @property
    def history(self) -> list[dict[str, float]]:
        """One row an epoch, as numbers, from `history.csv`."""
        file = self.folder / HISTORY
        if not file.is_file():
            return []
        try:
            with open(file, newline="", encoding="utf-8") as lines:
                return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(lines)]
        except (ValueError, TypeError, csv.Error) as error:
            raise RunError(f"{file}: is damaged. Expected a table of numbers. Restore it or delete it.") from error


def _metrics(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RunError(f"{file}: is damaged. Expected what `tfseg evaluate` writes. Delete it, or measure again.")
    return found


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """Loads a `.keras` file whose layers may be tfseg's, or the best network of a run directory.

    Raises:
        RunError: there is no such file, or Keras cannot read it.
    """
    path = network(Path(path))
    if not path.is_file():
        received = "a folder" if path.is_dir() else "nothing by that name"
        raise RunError(f"{path}: no file. Expected a .keras file or a run directory. Received: {received}.")
    return engines.load_model(path)


def run_of(path: Path, *, allow_plugins: bool = False) -> Run | None:
    """The run at `path`, or the one that the file `path` lies in, if any."""
    folder = path if path.is_dir() else path.parent
    return Run(folder, allow_plugins=allow_plugins) if (folder / PIPELINE).is_file() else None


def pipeline_of(path: Path) -> tuple[Path | None, Path]:
    """The run directory, and its pipeline file, where `path` is either; else None, and `path`."""
    folder = path if path.is_dir() else path.parent
    is_run = path in (folder, folder / PIPELINE) and (folder / PIPELINE).is_file() and (folder / LABELS).is_file()
    return (folder, folder / PIPELINE) if is_run else (None, path)


def network(path: Path) -> Path:
    """The file to load: of a run directory its best network, else `path` itself."""
    return path / BEST if (path / PIPELINE).is_file() else path
