"""User-facing errors. Messages contain the location, the received and the expected value, and what to do."""

import os
import re


class TfsegError(Exception):
    """An error that the user can fix. The command line prints only its message and exits with `exit_code`."""

    exit_code = 1


class DataError(TfsegError):
    """An image, a mask or a list of files that is invalid. The message contains the path of the file."""


class WeightsError(TfsegError):
    """A weight file that does not match the model."""


class RunError(TfsegError):
    """A run directory that cannot be read, written or resumed, or a training that had to stop."""


class ExportError(TfsegError):
    """An artifact that could not be written, or whose outputs differ from those of the model."""


def one_line(error: BaseException | str) -> str:
    """Returns the message of an error of a library on one line; the type of the error if the message is empty."""
    return " ".join(_plain(error).split()) or type(error).__name__


def first_line(error: BaseException | str) -> str:
    """Returns the first line of the message of an error; the type of the error if the message is empty."""
    return (_plain(error).strip() or type(error).__name__).splitlines()[0]


def reason(error: BaseException) -> str:
    """Returns the type of an unexpected error and the first line of its message."""
    return f"{type(error).__name__}: {first_line(error)}"


def printable(text: str) -> str:
    """Returns the text with undecodable bytes of file names in hexadecimal."""
    return os.fsencode(text).decode(errors="backslashreplace")


def _plain(error: BaseException | str) -> str:
    """Returns a message without the color codes of Keras."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))
