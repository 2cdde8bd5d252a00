"""Who may write a run directory: one training at a time, and nothing of the user's is lost."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tfseg.atomic import remove, sweep
from tfseg.errors import RunError
from tfseg.labels import LABELS
from tfseg.pipeline import PIPELINE, TUNED, Pipeline
from tfseg.runs.directory import METRICS, RECORD, Run
from tfseg.spec.show import dump
from tfseg.training.files import BEST, HISTORY, LAST, LOGS, STATE, states

LOCK = ".lock"
MARK = "run\n"
"""What the lock file holds once a training has begun to write the folder: all `PARTS` in it are a run's."""
FINISHED = Path(STATE) / "finished"
PARTS = (STATE, LOGS, METRICS.format(split="*"), TUNED, RECORD, HISTORY, LAST, BEST, LABELS, PIPELINE)
"""What `fit`, `evaluate` and `tune-crf` write, and what --overwrite deletes; nothing else.

In the order of deletion: first what marks the run as finished, last what shows that the folder is a run.
"""
MOVABLE = ("data.root", "data.cache", "model.backbone.weights", "inference.", "export.")
"""What may differ when a training goes on: where files lie, and what does not touch the training."""


class Claim:
    """A run directory that this process alone may write, as long as the block of `claim` lasts.

    Args:
        folder: the run directory.
        resume: the training goes on with what is there.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        self.folder = folder
        self.resume = resume
        self.begun = False

    def begin(self) -> None:
        """Makes room. Called when the training is ready to start: until then an earlier run is untouched."""
        self.begun = True
        try:
            (self.folder / LOCK).write_text(MARK, encoding="utf-8")
        except OSError as error:
            error.filename = error.filename or str(self.folder / LOCK)  # which a full disk does not name
            raise
        for part in () if self.resume else PARTS:
            for path in self.folder.glob(part):
                remove(path)
        sweep(self.folder, (part for part in PARTS if Path(part).suffix))
        sweep(self.folder / STATE, ("*.npz",))

    def finish(self) -> None:
        """Marks the run as finished."""
        (self.folder / FINISHED).touch()


@contextmanager
def claim(folder: Path, pipeline: Pipeline, *, resume: bool, overwrite: bool) -> Iterator[Claim]:
    """Holds `folder` for one training of `pipeline`: no other process may claim it until the block ends.

    Args:
        folder: the run directory; made if missing.
        pipeline: what is to be trained.
        resume: go on with an unfinished run.
        overwrite: replace what an earlier run left, once the new training is ready to start.

    Raises:
        RunError: the folder cannot be written, is in use, or holds a run that neither flag allows to touch.
    """
    if resume and overwrite:
        raise RunError("--resume and --overwrite: expected one. The first goes on with a run, the second deletes it.")
    with _locked(folder) as fresh:
        claimed = Claim(folder, resume)
        try:
            if resume:
                _check_resumable(folder, pipeline)
            else:
                _check_free(folder, overwrite)
            yield claimed
        except BaseException:
            if fresh and not claimed.begun:  # a folder that is not ours stays as it was
                (folder / LOCK).unlink(missing_ok=True)
            raise


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """The lock is the system's: it ends with the process, however that ends. Yields whether its file is new."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / LOCK).is_symlink():  # never followed: it may lead to somebody's file
            (folder / LOCK).unlink()
        if (folder / LOCK).exists() and not (folder / LOCK).is_file():  # a pipe would be waited for
            raise RunError(f"{folder}: its {LOCK} is no file. Name another folder with --run-dir.")
        fresh = not (folder / LOCK).exists()
        lock = open(folder / LOCK, "a", encoding="utf-8")  # noqa: SIM115  # held until the training ends
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
        yield fresh


def _check_resumable(folder: Path, pipeline: Pipeline) -> None:
    if (folder / FINISHED).is_file():
        raise RunError(_finished(folder))
    if not (folder / PIPELINE).is_file():
        raise RunError(f"{folder}: nothing to go on with; no run was begun there. Start it without --resume.")
    earlier = Run(folder, allow_plugins=bool(pipeline.plugins)).pipeline
    if changed := _differences(earlier, pipeline):
        raise RunError(
            f"{folder}: was started with another pipeline. It differs in {', '.join(changed)}. "
            "Resume with the pipeline that the run was started with, or name another folder with --run-dir."
        )


def _check_free(folder: Path, overwrite: bool) -> None:
    """A run whose first epoch never ended leaves nothing worth keeping, and may be started again.

    A file of the user's that has the name of a part is safe: a folder with files is taken only where a training has
    begun, or where two parts are there that together are a run's.
    """
    content = (folder / LOCK).read_text(encoding="utf-8", errors="replace")
    ours = content == MARK
    if content in ("", MARK) and all(path.name == LOCK for path in folder.iterdir()):
        return
    if not ours and not ((folder / PIPELINE).is_file() and (folder / LABELS).is_file()):
        kept = ", which --overwrite will not delete" if overwrite else ""
        raise RunError(f"{folder}: holds files that are no run{kept}. Name another folder with --run-dir.")
    if overwrite:
        return
    if (folder / FINISHED).is_file():
        raise RunError(_finished(folder))
    if states(folder):
        raise RunError(
            f"{folder}: holds an unfinished run. Go on with it with --resume, delete it with --overwrite, or name "
            "another folder with --run-dir."
        )


def _finished(folder: Path) -> str:
    return f"{folder}: holds a finished run. Name another folder with --run-dir, or delete it with --overwrite."


def _differences(earlier: Pipeline, now: Pipeline) -> list[str]:
    """The dotted paths of what differs and matters to a training."""
    before, after = (dict(_leaves(yaml.safe_load(dump(pipeline)))) for pipeline in (earlier, now))
    paths = dict.fromkeys((*before, *after))
    return [path for path in paths if before.get(path) != after.get(path) and not path.startswith(MOVABLE)]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for key, part in value.items():
        yield from _leaves(part, f"{path}.{key}" if path else str(key))
