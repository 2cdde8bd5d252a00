"""Numbered versions of a model, as for TF Serving, written atomically."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import tensorflow as tf

from tfseg.atomic import atomic_directory, sweep_directories
from tfseg.errors import ExportError, first_line


@contextmanager
def new_version(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yields `(staged, final)`: a temporary folder to write to, and its final path, the next version `folder/<number>`.

    After an error, earlier versions are unchanged and the folders created are removed.

    Raises:
        ExportError: If the folder cannot be written or the disk is full.
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
            with suppress(OSError):  # not empty if the export succeeded
                parent.rmdir()


def _numbers(folder: Path) -> Iterator[int]:
    return (int(path.name) for path in folder.glob("*") if path.name.isdecimal())


def _unwritten(final: Path, error: Exception) -> str:
    if final.exists():
        return f"{final}: was created by another process during this export, and was not changed. Rerun the export."
    return (
        f"{final}: cannot be written ({_reason(error)}); earlier versions are unchanged. Free disk space or choose "
        "another folder with --output."
    )


def _reason(error: Exception) -> str:
    """Returns the system's message, without the operation and temporary path that TensorFlow adds."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return first_line(error).rsplit("; ", 1)[-1].split(" [Op:")[0]
