"""Signals that wait until a training has saved its state."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

NOTICE = b"\nStopping as soon as the state of the training is saved. Repeat to stop at once.\n"


class Signals:
    """Context in which SIGINT (Ctrl-C) and SIGTERM wait until `deliver`. A repeated one does not wait.

    Delivery restores the handlers that the process had before and raises the signal again, so that it ends as it would
    have without this context. Signals that the process ignores stay ignored. Outside the main thread, which alone
    receives signals in Python, the context has no effect.

    Args:
        verbose: Boolean, whether to print a notice to standard error when a signal arrives.
    """

    def __init__(self, verbose: bool = False) -> None:
        self.received: int | None = None
        self._verbose = verbose
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: set by code other than Python
                    self._earlier[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        self._restore()
        if kind is None:
            self.deliver()

    def deliver(self) -> None:
        """Raises the received signal, if any, in the process as it was before this context."""
        number, self.received = self.received, None
        if number is not None:
            self._restore()
            signal.raise_signal(number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            self.deliver()
            return
        self.received = number
        if self._verbose:
            os.write(2, NOTICE)  # not `print`, which a signal may have interrupted

    def _restore(self) -> None:
        while self._earlier:
            signal.signal(*self._earlier.popitem())
