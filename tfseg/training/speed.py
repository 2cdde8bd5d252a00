"""Speed of a training."""

from collections import deque

SECONDS = 30.0
"""Length of the window in which the speed is measured."""


class Speed:
    """Seconds per batch, measured over the last 30 seconds of an epoch.

    The pause between two epochs does not count, nor does the first batch, in which TensorFlow traces the network.

    >>> speed = Speed()
    >>> for batches, seconds in [(1, 60.0), (3, 61.0), (5, 62.0)]:
    ...     speed.add(batches, seconds)
    >>> speed.seconds_per_batch
    0.5
    """

    def __init__(self) -> None:
        self.seconds_per_batch: float | None = None
        """Seconds per batch; None until it has been measured."""
        self._points: deque[tuple[int, float]] = deque()

    def start(self, batches: int, seconds: float) -> None:
        """Starts an epoch after `batches` batches of the training. The first epoch starts with its first batch."""
        self._points = deque([(batches, seconds)])

    def add(self, batches: int, seconds: float) -> None:
        """Adds the time, in seconds, at which batch number `batches` was completed."""
        self._points.append((batches, seconds))
        while len(self._points) > 2 and self._points[1][1] < seconds - SECONDS:
            self._points.popleft()
        first, started = self._points[0]
        if batches > first:
            self.seconds_per_batch = (seconds - started) / (batches - first)
