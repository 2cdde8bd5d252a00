"""Redirection of the output that C++ code writes directly to the file descriptors of stdout and stderr."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import BinaryIO

STDOUT, STDERR = 1, 2


@contextmanager
def redirected(descriptors: Sequence[int] = (STDOUT, STDERR)) -> Iterator[BinaryIO]:
    """Redirects the given file descriptors to a temporary file inside the block, and yields the file."""
    with ExitStack() as stack:
        sink = stack.enter_context(TemporaryFile())
        for descriptor in descriptors:
            stream = sys.stdout if descriptor == STDOUT else sys.stderr
            stream.flush()
            saved = os.dup(descriptor)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, descriptor)
            stack.callback(stream.flush)
            os.dup2(sink.fileno(), descriptor)
        yield sink
