"""Silence while TensorFlow converts."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing reaches stdout or stderr inside the block.

    The converter's C++ parts write to the file descriptors and heed no logging level, so the descriptors themselves
    are turned away. What they say about a failure is in the exception as well.
    """
    with ExitStack() as stack:
        sink = stack.enter_context(TemporaryFile())
        for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            kept = os.dup(descriptor)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, descriptor)
            stack.callback(stream.flush)
            os.dup2(sink.fileno(), descriptor)
        yield
