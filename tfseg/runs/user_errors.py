"""What TensorFlow says in the middle of a run, in words that a user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from tfseg.data import explain as explain_data
from tfseg.errors import RunError, first_line
from tfseg.training import explain


@contextmanager
def user_errors(smaller: str | None = None) -> Iterator[None]:
    """Gives an error of TensorFlow that the user can mend the words for it.

    Args:
        smaller: what the user may make smaller where memory runs out; by default, what a training has.
    """
    try:
        yield
    except Exception as error:
        known = (smaller and _memory(error, smaller)) or explain_data(error) or explain(error)
        if known is None:
            raise
        raise known from error


def _memory(error: Exception, smaller: str) -> RunError | None:
    """What to say of memory that a network, or an image, would need and that is not there."""
    if not isinstance(error, MemoryError) and type(error).__name__ != "ResourceExhaustedError":  # TensorFlow's
        return None
    said = first_line(error).split("{{node")[0].strip()
    return RunError(f"there is not enough memory ({said}). Make smaller: {smaller}")
