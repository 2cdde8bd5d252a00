"""Files and folders that appear whole or not at all."""

import errno
import fcntl
import glob
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tfseg.errors import RunError

RANDOM = 10
"""The bytes by which a temporary name is longer than the final one: a dot, a hyphen and what `tempfile` adds."""


@contextmanager
def atomic_file(path: Path, final: Callable[[Path], Path] | None = None) -> Iterator[Path]:
    """Yields a path beside `path` to write to; it takes the place of `path` when the block ends without an error.

    The temporary name keeps the suffix, because Keras and Pillow choose a format by it. After an error the old
    `path`, if any, is untouched and nothing is left beside it. Its writer holds a lock on the temporary file, so that
    `sweep` tells one that is being written from one whose writer was killed.

    Args:
        path: the file to appear.
        final: the name that the finished file gets instead, from its content.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = path.stem if len(os.fsencode(path.name)) + RANDOM <= longest_name(path.parent) else ""
    handle, name = tempfile.mkstemp(prefix=f".{stem}-", suffix=path.suffix, dir=path.parent)
    partial = Path(name)
    try:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield partial
        _sync(partial)
        partial.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner may read
        os.replace(partial, path if final is None else final(partial))
    except OSError as error:  # of a full disk without a name, else with the temporary one
        if error.filename in (None, name):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        os.close(handle)
        partial.unlink(missing_ok=True)


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Deletes what processes that were killed while they wrote these files of `folder` have left behind.

    Args:
        folder: where the files lie.
        names: their names, with wildcards.
    """
    for name in names:
        for path in folder.glob(f".{Path(name).stem}-*{Path(name).suffix}"):
            if path.is_file() and not path.is_symlink() and _is_dead(path):
                path.unlink(missing_ok=True)


def sweep_directories(path: Path) -> None:
    """Deletes what processes that were killed while they wrote `path`, a folder, have left beside it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}-{'?' * 8}"):
        private = stat.S_IMODE(left.lstat().st_mode) == 0o700  # as `tempfile` makes folders
        if private and left.is_dir() and not left.is_symlink() and _is_dead(left):
            shutil.rmtree(left, ignore_errors=True)


def longest_name(folder: Path) -> int:
    """The most bytes of a file's name in a folder; one that does not exist yet will be like the next one above it."""
    while not folder.is_dir():
        folder = folder.parent
    return os.pathconf(folder, "PC_NAME_MAX")


def remove(path: Path) -> None:
    """Deletes a file, a link (never what it leads to), or a folder and all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside `path`; it becomes `path` when the block ends without an error.

    Its writer holds a lock on it meanwhile, by which `sweep_directories` tells it from what a killed writer left.

    Raises:
        FileExistsError: `path` exists when the folder is to be moved there. It is left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    handle = os.open(partial, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield partial
        partial.chmod(0o777 & ~_umask())
        if path.exists():
            raise FileExistsError(path)
        os.rename(partial, path)
    finally:
        os.close(handle)
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` in UTF-8, atomically."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _is_dead(path: Path) -> bool:
    """Whether no process holds the lock of a temporary file or folder."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def check_writable(path: Path) -> None:
    """Makes the folder for a file that is to be written later.

    Raises:
        RunError: it cannot be made or written, or `path` is a folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            found = os.strerror(errno.EISDIR) if path.is_dir() else ""
    except OSError as error:
        found = error.strerror or str(error)
    if found:
        raise RunError(f"{path}: cannot be written ({found}). Expected a file in a folder that may be written.")


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
