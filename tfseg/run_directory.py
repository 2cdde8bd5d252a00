"""What a run leaves on disk, and who may write there.

model.keras  last.keras  pipeline.yaml  labels.json  metrics-<split>.json  history.csv  logs/  state/
"""

import csv
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import keras

import tfseg.layers  # noqa: F401  # registers what a saved model names
from tfseg.errors import RunError
from tfseg.pipeline import Pipeline, load

BEST, LAST = "model.keras", "last.keras"
PIPELINE, LABELS, HISTORY, STATE = "pipeline.yaml", "labels.json", "history.csv", "state"
METRICS = "metrics-{split}.json"
LOCK = ".lock"


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
        return load(self.folder / PIPELINE, allow_plugins=self._allow_plugins)

    @property
    def best(self) -> Path:
        """The file of the network with the best validation mIoU."""
        return self.folder / BEST

    def model(self, name: str = BEST) -> keras.Model:
        """The network with the best validation mIoU, or with `name="last.keras"` the one of the last epoch."""
        return load_model(self.folder / name)

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of every `metrics-<split>.json`, by split."""
        files = sorted(self.folder.glob(METRICS.format(split="*")))
        return {file.stem.removeprefix("metrics-"): json.loads(file.read_text()) for file in files}

    @property
    def history(self) -> list[dict[str, float]]:
        """One row an epoch, as numbers, from `history.csv`."""
        file = self.folder / HISTORY
        if not file.is_file():
            return []
        with open(file, newline="", encoding="utf-8") as lines:
            return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(lines)]


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """Loads a `.keras` file whose layers may be tfseg's.

    Raises:
        RunError: there is no such file, or Keras cannot read it.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"{path}: no such file. Expected a model in Keras's .keras format.")
    try:
        return keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise RunError(f"{path}: Keras cannot read it as a model: {str(error).splitlines()[0]}") from error


def run_of(path: Path, *, allow_plugins: bool = False) -> Run | None:
    """The run at `path`, or the one that the file `path` lies in, if any."""
    folder = path if path.is_dir() else path.parent
    return Run(folder, allow_plugins=allow_plugins) if (folder / PIPELINE).is_file() else None


def network(path: Path) -> Path:
    """The file to load: of a run directory its best network, else `path` itself."""
    return path / BEST if (path / PIPELINE).is_file() else path


@contextmanager
def claim(folder: Path, *, validation_split: str, resume: bool, overwrite: bool) -> Iterator[None]:
    """Holds `folder` for one training: no other process may claim it until the block ends.

    Args:
        folder: the run directory; made if missing.
        validation_split: a run is finished once it holds the metrics of this split.
        resume: go on with an unfinished run.
        overwrite: delete what an earlier run left.

    Raises:
        RunError: the folder cannot be written, is in use, or holds a run that neither flag allows to touch.
    """
    with _locked(folder):
        left = [path for path in folder.iterdir() if path.name != LOCK]
        if overwrite:
            _clear(folder, left)
        elif left or resume:
            _check_untouched(folder, (folder / METRICS.format(split=validation_split)).is_file(), resume)
        yield


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The lock is the system's: it ends with the process, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "w", encoding="utf-8")  # noqa: SIM115  # held until the training ends
    except OSError as error:
        raise RunError(
            f"{folder}: cannot be written ({error.strerror}). Expected a folder that may be made or written; "
            "name another with --run-dir."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"{folder}: in use by another training. Wait until it ends, or name another folder with --run-dir."
            ) from error
        yield


def _check_untouched(folder: Path, finished: bool, resume: bool) -> None:
    """Raises unless there is an unfinished run and `resume`."""
    if finished:
        raise RunError(
            f"{folder}: holds a finished run. Name another folder with --run-dir, or delete it with --overwrite."
        )
    if resume and not (folder / STATE).is_dir():
        raise RunError(f"{folder}: nothing to go on with; no epoch was finished there. Start it without --resume.")
    if resume:
        return
    if (folder / PIPELINE).is_file():
        raise RunError(
            f"{folder}: holds an unfinished run. Go on with it with --resume, delete it with --overwrite, or name "
            "another folder with --run-dir."
        )
    raise RunError(f"{folder}: holds files that are no run. Name another folder with --run-dir.")


def _clear(folder: Path, left: list[Path]) -> None:
    if left and not (folder / PIPELINE).is_file():
        raise RunError(
            f"{folder}: holds files that are no run, which --overwrite will not delete. "
            "Name another folder with --run-dir."
        )
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
