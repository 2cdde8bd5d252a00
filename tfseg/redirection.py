"""What C++ writes to the descriptors of stdout and stderr, past Python and every logging level, turned away."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import BinaryIO

STDOUT, STDERR = 1, 2


@contextmanager
def redirected(descriptors: Sequence[int] = (STDOUT, STDERR)) -> Iterator[BinaryIO]:
    """Nothing reaches these descriptors inside the block; yields the file that what is written goes to."""
    with ExitStack() as stack:
        sink = stack.enter_context(TemporaryFile())
        for descriptor in descriptors:
            stream = sys.stdout if descriptor == STDOUT else sys.stderr
            stream.flush()
            kept = os.dup(descriptor)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, descriptor)
            stack.callback(stream.flush)
            os.dup2(sink.fileno(), descriptor)
        yield sink
