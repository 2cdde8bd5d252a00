"""What TensorFlow says in the middle of a run, in words that a user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from tfseg.data import explain as explain_data
from tfseg.training import explain


@contextmanager
def in_words() -> Iterator[None]:
    """Gives an error of TensorFlow that the user can mend the words for it."""
    try:
        yield
    except Exception as error:
        known = explain_data(error) or explain(error)
        if known is None:
            raise
        raise known from error
