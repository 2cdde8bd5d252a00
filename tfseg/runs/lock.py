"""Exclusive access to a run directory, and protection of files that are not part of a run."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tfseg.atomic import remove, sweep
from tfseg.data import Python
from tfseg.data.examples import Source
from tfseg.errors import RunError
from tfseg.labels import LABELS
from tfseg.pipeline import PIPELINE, TUNED, Pipeline
from tfseg.runs.directory import METRICS, RECORD, Run
from tfseg.runs.skipped import SKIPPED
from tfseg.spec.show import dump
from tfseg.training.files import (
    AVERAGE,
    AVERAGE_REPORT,
    BEST,
    CHECKPOINTS,
    CURVES,
    HISTORY,
    LAST,
    LOGS,
    STATE,
    states,
)  # fmt: skip

LOCK = ".lock"
MARK = "run\n"
"""Content of the lock file after a run has started to write to the folder. All `PARTS` there then belong to a run."""
FINISHED = Path(STATE) / "finished"
PARTS = (
    STATE, LOGS, METRICS.format(split="*"), TUNED, RECORD, SKIPPED, CURVES, HISTORY, CHECKPOINTS, AVERAGE_REPORT,
    AVERAGE, LAST, BEST, LABELS, PIPELINE,
)  # fmt: skip
"""Files and folders that `fit`, `evaluate` and `tune-crf` write. `--overwrite` deletes these only.

In the order of deletion: the mark of a finished run comes first, the files that identify a run directory come last.
"""
MUTABLE = (
    "data.root", "data.cache", "model.backbone.weights", "training.init_from", "training.checkpoint", "inference.",
    "export.",
)  # fmt: skip
"""Keys that may differ when a run is resumed: paths of files, and keys without effect on the training."""
DURATION = ("training.epochs", "training.steps")
"""Keys that may be larger when a run is resumed."""


class RunLock:
    """Lock on a run directory: only this process may write to it within the `with` block of `lock_run`.

    Args:
        folder: Path of the run directory.
        resume: Boolean, whether the existing run is resumed.

    Attributes:
        extended: Boolean, whether it is resumed with more epochs or steps than before.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        self.folder = folder
        self.resume = resume
        self.extended = False
        self.begun = False

    def begin(self) -> None:
        """Deletes an earlier run, unless it is resumed. To be called when the training is ready to start."""
        self.begun = True
        try:
            (self.folder / LOCK).write_text(MARK, encoding="utf-8")
        except OSError as error:
            error.filename = error.filename or str(self.folder / LOCK)  # not set when the disk is full
            raise
        for part in (FINISHED,) if self.resume else PARTS:
            for path in self.folder.glob(str(part)):
                remove(path)
        sweep(self.folder, (part for part in PARTS if Path(part).suffix))
        sweep(self.folder / STATE, ("*.npz",))
        sweep(self.folder / CHECKPOINTS, ("*.keras",))

    def finish(self) -> None:
        """Marks the run as finished."""
        (self.folder / FINISHED).touch()


@contextmanager
def lock_run(folder: Path, pipeline: Pipeline, *, resume: bool, overwrite: bool) -> Iterator[RunLock]:
    """Locks `folder` for a training of `pipeline`, against other processes, until the block ends.

    Args:
        folder: Path of the run directory; created if it does not exist.
        pipeline: Pipeline to train.
        resume: Boolean, whether to resume an unfinished run, or to extend a run.
        overwrite: Boolean, whether to delete an earlier run, once the new training is ready to start.

    Raises:
        RunError: If the folder cannot be written, is in use, or contains a run that is neither resumed nor
            overwritten.
    """
    if resume and overwrite:
        raise RunError("--resume and --overwrite: expected one. The first resumes a run, the second deletes it.")
    with _locked(folder) as fresh:
        lock = RunLock(folder, resume)
        try:
            if resume:
                lock.extended = _check_resumable(folder, pipeline)
            else:
                _check_free(folder, overwrite)
            yield lock
        except BaseException:
            if fresh and not lock.begun:  # leaves a folder that is not a run directory unchanged
                (folder / LOCK).unlink(missing_ok=True)
            raise


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Locks the lock file and yields whether it is new. If the process is killed, the system releases the lock."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / LOCK).is_symlink():  # never followed: the target may be a file of the user
            (folder / LOCK).unlink()
        if (folder / LOCK).exists() and not (folder / LOCK).is_file():  # opening a pipe would block
            raise RunError(f"{folder}: its {LOCK} is not a file. Choose another folder with --run-dir.")
        fresh = not (folder / LOCK).exists()
        lock = open(folder / LOCK, "a", encoding="utf-8")  # noqa: SIM115  # held until the training ends
    except OSError as error:
        raise RunError(
            f"{folder}: cannot be written ({error.strerror}). Expected a writable folder; choose another with "
            "--run-dir."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"{folder}: in use by another training. Wait until it ends, or choose another folder with --run-dir."
            ) from error
        yield fresh


def _check_resumable(folder: Path, pipeline: Pipeline) -> bool:
    """Checks that `pipeline` may resume the run, and returns whether it extends the training."""
    if not (folder / PIPELINE).is_file():
        raise RunError(f"{folder}: nothing to resume: no run was started there. Start it without --resume.")
    earlier = Run(folder, allow_plugins=bool(pipeline.plugins)).pipeline
    _check_passed(folder, earlier.data.source, pipeline.data.source)
    changed = _differences(earlier, pipeline)
    extended = any(key in changed for key in DURATION) and _is_longer(earlier, pipeline)
    if extended:
        changed = [key for key in changed if key not in DURATION]
    if changed:
        raise RunError(
            f"{folder}: was started with another pipeline. It differs in {', '.join(changed)}. "
            "Resume with the pipeline that the run was started with, or choose another folder with --run-dir."
        )
    if (folder / FINISHED).is_file() and not extended:
        raise RunError(
            f"{folder}: the run is finished, so there is nothing to resume. To train longer, add a larger value of "
            "training.epochs or training.steps to the command."
        )
    return extended


def _is_longer(earlier: Pipeline, now: Pipeline) -> bool:
    """Returns whether neither the number of epochs nor that of steps, if limited, is smaller than before."""
    before, after = ((each.training.epochs, each.training.steps) for each in (earlier, now))
    return all(new is None or (old is not None and new >= old) for old, new in zip(before, after, strict=True))


def _check_passed(folder: Path, earlier: Source, now: Source) -> None:
    """Checks the numbers of examples that are passed from Python, which are all that the run knows of them."""
    if not isinstance(earlier, Python):
        return
    if not isinstance(now, Python):
        raise RunError(
            f"{folder}: was started with data passed from Python. Resume with the same data: "
            "tfseg.fit(pipeline, run_dir, training=…, validation=…, resume=True)."
        )
    if (earlier.train, earlier.val) != (now.train, now.val):
        raise RunError(
            f"{folder}: was started with other data: {earlier.train} training and {earlier.val} validation examples "
            f"or batches. Received: {now.train} and {now.val}. Resume with the data that the run was started with, or "
            "choose another folder."
        )


def _check_free(folder: Path, overwrite: bool) -> None:
    """Checks that a new run may be written to `folder`. A run without a completed epoch may be started again.

    Files of the user with a name in `PARTS` are safe: a folder that is not empty is written to only if a run was begun
    there, or if it contains both of the files that identify a run directory.
    """
    content = (folder / LOCK).read_text(encoding="utf-8", errors="replace")
    marked = content == MARK
    if content in ("", MARK) and all(path.name == LOCK for path in folder.iterdir()):
        return
    if not marked and not ((folder / PIPELINE).is_file() and (folder / LABELS).is_file()):
        kept = ", and --overwrite deletes runs only" if overwrite else ""
        raise RunError(f"{folder}: is not empty and not a run directory{kept}. Choose another folder with --run-dir.")
    if overwrite:
        return
    if (folder / FINISHED).is_file():
        raise RunError(
            f"{folder}: contains a finished run. Choose another folder with --run-dir, or delete it with --overwrite."
        )
    if states(folder):
        raise RunError(
            f"{folder}: contains an unfinished run. Continue with --resume, delete it with --overwrite, or choose "
            "another folder with --run-dir."
        )


def _differences(earlier: Pipeline, now: Pipeline) -> list[str]:
    """Returns the dotted paths of the keys that differ and affect the training."""
    before, after = (dict(_leaves(yaml.safe_load(dump(pipeline)))) for pipeline in (earlier, now))
    paths = dict.fromkeys((*before, *after))
    return [path for path in paths if before.get(path) != after.get(path) and not path.startswith(MUTABLE)]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for key, part in value.items():
        yield from _leaves(part, f"{path}.{key}" if path else str(key))
