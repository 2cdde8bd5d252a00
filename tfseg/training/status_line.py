"""One line of standard output that is updated in position in a terminal or a notebook."""

import shutil
import sys
import threading
from collections.abc import Sequence
from typing import NamedTuple, Self

GAP = "  "
"""Between the parts of a line."""
BAR = 10
"""Number of characters of a bar."""


class Part(NamedTuple):
    """Part of a line."""

    text: str
    rank: int
    """Parts of the highest rank are the first to be left out of a narrow line. Rank 0 is never left out."""


def interactive() -> bool:
    """Returns whether standard output is a terminal or a notebook, where a line can be updated in position."""
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def fitted(parts: Sequence[Part], width: int) -> str:
    """Joins the parts that fit a line. Of parts of the same rank, the last one is left out first.

    >>> fitted([Part("epoch 1/3", 0), Part("1:03 left", 2), Part("loss 0.4", 1)], 30)
    'epoch 1/3  1:03 left  loss 0.4'
    >>> fitted([Part("epoch 1/3", 0), Part("1:03 left", 2), Part("loss 0.4", 1)], 29)
    'epoch 1/3  loss 0.4'

    Args:
        parts: Parts, from left to right.
        width: Maximum number of characters.
    """
    kept = list(parts)
    while len(text := GAP.join(part.text for part in kept)) > width:
        last = max(range(len(kept)), key=lambda index: (kept[index].rank, index))
        if not kept[last].rank:
            break
        del kept[last]
    return text


def bar(share: float) -> str:
    """Returns a bar, of ASCII characters if the encoding of standard output has no others.

    Args:
        share: Float, completed share, 0 to 1.
    """
    full = int(BAR * share)
    shown = "━" * full + "─" * (BAR - full)
    try:
        shown.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return f"[{'#' * full}{'.' * (BAR - full)}]"
    return shown


class StatusLine:
    """Line of standard output. It ends with a line break when the context ends, even by an exception.

    Without a terminal or notebook, `update` has no effect, and `complete` prints plain lines.
    If standard output cannot be written, for example because the reader of a pipe has ended, nothing more is printed:
    a training does not end for that.
    """

    def __init__(self) -> None:
        self.interactive = interactive()
        self._shown = 0
        self._closed = False
        self._lock = threading.Lock()  # Keras updates in several threads

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._shown:
                self._print("\n")
            self._closed = True  # for threads that have not ended

    def update(self, parts: Sequence[Part]) -> None:
        """Replaces the line. Parts that do not fit the width of the terminal are left out."""
        if self.interactive:
            self._replace(parts, "")

    def complete(self, parts: Sequence[Part]) -> None:
        """Replaces the line for the last time. The next update is on a new line."""
        if self.interactive:
            self._replace(parts, "\n")
        else:
            self._print(GAP.join(part.text for part in parts) + "\n")

    def _replace(self, parts: Sequence[Part], end: str) -> None:
        width = shutil.get_terminal_size().columns - 1  # a character in the last column may move the cursor
        text = fitted(parts, width)[:width]
        with self._lock:
            before, self._shown = self._shown, 0 if end else len(text)
            self._print(f"\r{text}{' ' * min(before - len(text), width - len(text))}{end}")

    def _print(self, text: str) -> None:
        if self._closed:
            return
        try:
            print(text, end="", flush=True)
        except (OSError, ValueError):  # ValueError: standard output is closed
            self._closed = True
