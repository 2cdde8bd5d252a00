"""Errors of TensorFlow during a run, as messages that users can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from tfseg.data import explain as explain_data
from tfseg.errors import RunError, first_line
from tfseg.training import explain


@contextmanager
def user_errors(smaller: str | None = None) -> Iterator[None]:
    """Converts errors of TensorFlow that the user can correct into `TfsegError`.

    Args:
        smaller: String, the settings to reduce when memory is exhausted. Defaults to those of a training.
    """
    try:
        yield
    except Exception as error:
        known = (smaller and _memory(error, smaller)) or explain_data(error) or explain(error)
        if known is None:
            raise
        raise known from error


def _memory(error: Exception, smaller: str) -> RunError | None:
    """Returns the error to raise if `error` is an out-of-memory error, else None."""
    if not isinstance(error, MemoryError) and type(error).__name__ != "ResourceExhaustedError":  # of TensorFlow
        return None
    reason = first_line(error).split("{{node")[0].strip()
    return RunError(f"out of memory ({reason}). Reduce: {smaller}")
