"""What can go wrong by a user's hand, in words: where, what was received, what was expected, what to do."""


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
    """An artefact that could not be written, or that does not compute what the model computes."""
