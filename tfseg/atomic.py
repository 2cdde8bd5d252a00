"""Atomic writing of files and folders."""

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
"""Number of bytes that a temporary name adds to the final one: a dot, a hyphen and 8 characters of `tempfile`."""


@contextmanager
def atomic_file(path: Path, final: Callable[[Path], Path] | None = None) -> Iterator[Path]:
    """Yields a temporary path next to `path`, which replaces `path` when the block ends without an error.

    The temporary name keeps the suffix, because Keras and Pillow choose the format by it. After an error, an existing
    `path` is unchanged and the temporary file is deleted. The writer holds a lock on the temporary file, by which
    `sweep` distinguishes a file that is being written from one whose writer was killed.

    Args:
        path: Path of the file to write.
        final: Function of the temporary path that returns the path to replace instead of `path`, for names that depend
            on the content. Optional.
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
        partial.chmod(0o666 & ~_umask())  # mkstemp creates files with mode 0600
        os.replace(partial, path if final is None else final(partial))
    except OSError as error:  # without a file name if the disk is full, otherwise with the temporary name
        if error.filename in (None, name):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        os.close(handle)
        partial.unlink(missing_ok=True)


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Deletes the temporary files of processes that were killed while writing files in `folder`.

    Args:
        folder: Folder of the files.
        names: Names of the files, with wildcards.
    """
    for name in names:
        for path in folder.glob(f".{Path(name).stem}-*{Path(name).suffix}"):
            if path.is_file() and not path.is_symlink() and _is_dead(path):
                path.unlink(missing_ok=True)


def sweep_directories(path: Path) -> None:
    """Deletes the temporary folders of processes that were killed while writing the folder `path`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}-{'?' * 8}"):
        private = stat.S_IMODE(left.lstat().st_mode) == 0o700  # the mode of folders of `tempfile`
        if private and left.is_dir() and not left.is_symlink() and _is_dead(left):
            shutil.rmtree(left, ignore_errors=True)


def longest_name(folder: Path) -> int:
    """Returns the maximum number of bytes of a file name in a folder, or in its nearest existing parent."""
    while not folder.is_dir():
        folder = folder.parent
    return os.pathconf(folder, "PC_NAME_MAX")


def remove(path: Path) -> None:
    """Deletes a file, a link (but not its target), or a folder with its content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yields an empty folder next to `path`, which is renamed to `path` when the block ends without an error.

    The writer holds a lock on the temporary folder, by which `sweep_directories` distinguishes a folder that is being
    written from one whose writer was killed.

    Raises:
        FileExistsError: If `path` exists when the block ends. The existing file or folder is unchanged.
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
    """Returns whether no process holds the lock of a temporary file or folder."""
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
    """Creates the folder of a file that is to be written later.

    Raises:
        RunError: If the folder cannot be created or is not writable, or if `path` is a folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            reason = os.strerror(errno.EISDIR) if path.is_dir() else ""
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise RunError(f"{path}: cannot be written ({reason}). Expected a file in a writable folder.")


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
