"""What can go wrong by a user's hand, in words: where, what was received, what was expected, what to do."""

import re


class TfsegError(Exception):
    """A mistake that the user can mend. The command line prints its text alone and leaves with `exit_code`."""

    exit_code = 1


class DataError(TfsegError):
    """An image, a mask or a list of them that cannot be used; the text names the file."""


class WeightsError(TfsegError):
    """A weight file that does not fit the model."""


class RunError(TfsegError):
    """A run directory that cannot be read, written or continued, or a training that had to stop."""


class ExportError(TfsegError):
    """An artifact that could not be written, or that does not compute what the model computes."""


def one_line(error: BaseException | str) -> str:
    """What a library said, on one line; the name of its error where it said nothing."""
    return " ".join(_plain(error).split()) or type(error).__name__


def first_line(error: BaseException | str) -> str:
    """The first line of what a library said, where the others would not help; as `one_line` where it said nothing."""
    return (_plain(error).strip() or type(error).__name__).splitlines()[0]


def reason(error: BaseException) -> str:
    """The kind of an error that nobody foresaw, and the first line of what it says."""
    return f"{type(error).__name__}: {first_line(error)}"


def _plain(error: BaseException | str) -> str:
    """Without the colors that Keras puts into its messages."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))
