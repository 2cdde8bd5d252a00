"""Numbered versions of an artifact, as TF Serving wants them: the whole of one, or nothing."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import tensorflow as tf

from tfseg.atomic import atomic_directory, sweep_directories
from tfseg.errors import ExportError, first_line


@contextmanager
def new_version(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yields `(staged, final)`: a folder to write to, and the next free `folder/<number>` that it becomes at the end.

    After an error earlier versions are as they were, and folders that were made on the way are gone.

    Raises:
        ExportError: the folder cannot be written to, or is full.
    """
    final = folder / str(max(_numbers(folder), default=0) + 1)
    made = [parent for parent in final.parents if not parent.exists()]
    try:
        sweep_directories(final)
        with atomic_directory(final) as staged:
            yield staged, final
    except (OSError, tf.errors.OpError) as error:
        raise ExportError(_unwritten(final, error)) from error
    finally:
        for parent in made:
            with suppress(OSError):  # not empty: the version is there
                parent.rmdir()


def _numbers(folder: Path) -> Iterator[int]:
    return (int(path.name) for path in folder.glob("*") if path.name.isdecimal())


def _unwritten(final: Path, error: Exception) -> str:
    if final.exists():
        return f"{final}: appeared while this export was running, and was left as it is. Run the export again."
    return (
        f"{final}: cannot be written ({_reason(error)}); nothing was left behind and earlier versions are as they "
        "were. Make room or choose another folder with --output."
    )


def _reason(error: Exception) -> str:
    """What the system said; TensorFlow puts its operation and a temporary path around it."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return first_line(error).rsplit("; ", 1)[-1].split(" [Op:")[0]
