"""Progress of a training or an evaluation on standard output."""

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from tfseg.training.duration import Duration
from tfseg.training.memory import peak_gpu_memory, peak_memory
from tfseg.training.speed import Speed
from tfseg.training.status_line import Part, StatusLine, bar, interactive

INTERVAL = 0.1
"""Minimum number of seconds between two updates of the line."""
RATE_INTERVAL = 1.0
"""The same of the learning rate during an epoch, because a schedule takes about as long as ten updates."""
MAIN = (("loss", "loss", 2), ("miou", "mIoU", 4), ("val_loss", "val loss", 5), ("val_miou", "val mIoU", 1))
"""Logs that are shown, with their labels and ranks."""
ALWAYS = {"miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"}
"""Metrics of every training. Others, of `training.metrics`, are shown on wide lines."""


def verbosity(verbose: bool) -> int:
    """Returns Keras's `verbose`: 0 if not `verbose`, 1 (bar) in a terminal or notebook, else 2 (a line at the end)."""
    return (1 if interactive() else 2) if verbose else 0


def image_bar(verbose: bool) -> Callable[[int], Callable[[], None]]:
    """Returns a function of the number of images that shows a progress bar, if `verbose` and in a terminal.

    The function returns another one, to be called after every image.
    """

    def start(count: int) -> Callable[[], None]:
        bar = keras.utils.Progbar(count, verbose=int(verbose and sys.stdout.isatty()), unit_name="image")
        return lambda: bar.add(1)

    return start


class Progress(keras.callbacks.Callback):
    """Callback that shows one line per epoch: losses, mIoU, learning rate, images per second, time left, memory.

    In a terminal or notebook, the line is updated during the epoch, at most ten times a second. Training steps wait for
    the device no longer than without it: Keras reads the logs of every batch anyway. Some versions of Keras call
    `on_train_batch_end` in other threads, possibly out of order.

    Args:
        length: Duration of the training.
        line: Line to write to.
        batch_size: Number of images per batch.
        validated: Epochs, counted from 1, that end with a validation.
        best: Best `val_miou` so far, for a resumed training.
    """

    async_safe = True

    def __init__(
        self,
        length: Duration,
        line: StatusLine,
        *,
        batch_size: int,
        validated: Sequence[int],
        best: float = -math.inf,
    ) -> None:
        super().__init__()
        self.length = length
        self.line = line
        self.batch_size = batch_size
        self.validated = validated
        self.best = best
        self._lock = threading.Lock()
        self._speed = Speed()
        self._begun = time.monotonic()
        self._updated = -math.inf
        self._epoch = 0
        self._batches = 0
        self._completed: float | None = None  # the time of the last completed batch
        self._logs: Mapping[str, float] = {}
        self._pauses = {True: 0.0, False: 0.0}  # seconds after the last batch of an epoch, by whether it is validated
        self._validating = False
        self._rate, self._rate_read = math.nan, -math.inf

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._logs = epoch, {}
        if self._completed is not None:  # the first epoch starts with its first batch, which includes tracing
            self._speed.start(self._batches, time.monotonic())
        self.line.update([self._title(), Part(bar(0.0), 6)])

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        batches, now = self._epoch * self.length.batches_per_epoch + batch + 1, time.monotonic()
        with self._lock:
            if batches <= self._batches:
                return
            self._batches, self._completed, self._logs = batches, now, logs or {}
            if now - self._updated >= INTERVAL:
                self._updated = now
                self._speed.add(batches, now)
                if self.line.interactive:
                    self.line.update([self._title(), *self._bar(), *self._metrics(), *self._others(now)])

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._validating = True

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        with self._lock:
            self._validating = False

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.monotonic()
        with self._lock:
            if self._validating and now - self._updated >= INTERVAL:  # late calls would overwrite the next line
                self._updated = now
                self.line.update([self._title(), Part(f"validation {batch + 1}", 1), *self._metrics()])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._logs, now = logs or {}, time.monotonic()
        if self._completed is not None:
            self._speed.add(self._batches, self._completed)
            self._pauses["val_loss" in self._logs] = now - self._completed
        self._rate_read = -math.inf
        self.line.complete([self._title(), *self._metrics(), *self._others(now, ended=True)])
        self.best = max(self.best, self._logs.get("val_miou", self.best))  # unchanged by NaN

    def _title(self) -> Part:
        return Part(f"epoch {self._epoch + 1}/{self.length.epochs}", 0)

    def _bar(self) -> Iterator[Part]:
        """Yields the bar and the number of batches of the epoch."""
        before = self._epoch * self.length.batches_per_epoch
        total = min(self.length.batches_per_epoch, self.length.batches - before)
        done = self._batches - before
        yield Part(bar(done / total), 6)
        yield Part(f"{done}/{total}", 9)

    def _metrics(self) -> Iterator[Part]:
        """Yields losses and mIoU and, in a terminal or notebook, the additional metrics."""
        for name, label, rank in MAIN:
            if (value := self._logs.get(name)) is not None:
                best = " (best)" if name == "val_miou" and value > self.best else ""
                yield Part(f"{label} {number(value)}{best}", rank)
        for name, value in self._logs.items() if self.line.interactive else ():
            if name.removeprefix("val_") not in ALWAYS and not name.endswith("loss"):
                yield Part(f"{name} {number(value)}", 11)

    def _others(self, now: float, ended: bool = False) -> Iterator[Part]:
        """Yields learning rate, speed, time and memory, after a batch or when the epoch has ended."""
        if now - self._rate_read >= RATE_INTERVAL:
            self._rate, self._rate_read = float(self.model.optimizer.learning_rate), now
        yield Part(f"lr {self._rate:.1e}", 8)
        seconds = self._speed.seconds_per_batch
        if seconds:
            yield Part(f"{short(self.batch_size / seconds)} images/s", 7)
        if ended and self._batches >= self.length.batches:
            yield Part(f"took {duration(now - self._begun)}", 3)
        elif seconds:
            yield Part(f"{duration(self._seconds_left(seconds, ended))} left", 3)
        gpu = peak_gpu_memory()
        yield Part(f"{gigabytes(peak_memory())}" + ("" if gpu is None else f"  GPU {gigabytes(gpu)}"), 10)

    def _seconds_left(self, seconds_per_batch: float, ended: bool) -> float:
        """Returns the seconds until the end of the training, with those of validations that are known."""
        first = self._epoch + 1 + ended
        validations = sum(epoch >= first for epoch in self.validated)
        others = self.length.epochs + 1 - first - validations
        pauses = validations * self._pauses[True] + others * self._pauses[False]
        return (self.length.batches - self._batches) * seconds_per_batch + pauses


def number(value: float) -> str:
    """Formats a loss or metric.

    >>> number(0.41234), number(12345.6), number(0.0), number(float("nan"))
    ('0.412', '1.23e+04', '0.000', 'nan')
    """
    return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1e3 else f"{value:.2e}"


def short(value: float) -> str:
    """Formats a positive number with at least two digits.

    >>> short(212.3), short(3.14159), short(0.0314159)
    ('212', '3.1', '0.031')
    """
    return f"{value:.0f}" if value >= 9.95 else f"{value:#.2g}"


def duration(seconds: float) -> str:
    """Formats a number of seconds.

    >>> duration(63.2), duration(3723), duration(100_000)
    ('1:03', '1:02:03', '1 d 3:46:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours}:{minutes:02d}:{rest:02d}"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def gigabytes(count: int) -> str:
    """Formats a number of bytes.

    >>> gigabytes(1_234_000_000)
    '1.2 GB'
    """
    return f"{count / 1e9:.1f} GB"
