"""Duration of a training in batches, optimizer steps and epochs."""

import math
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class Duration:
    """Duration of a training.

    >>> duration = Duration(batches_per_epoch=5, accumulate=2, steps=6)
    >>> duration.batches, duration.epochs, duration.total_steps, duration.steps_per_epoch
    (12, 3, 6, 2.5)

    Args:
        batches_per_epoch: Number of batches per epoch.
        accumulate: Number of batches per optimizer step.
        epochs_at_most: Number of epochs after which the training ends, or None.
        steps: Number of optimizer steps after which the training ends, possibly within an epoch, or None. If both are
            given, the training ends at whichever comes first.
    """

    batches_per_epoch: int
    accumulate: int = 1
    epochs_at_most: int | None = None
    steps: int | None = None

    @property
    def batches(self) -> int:
        """Number of batches."""
        by_epochs = math.inf if self.epochs_at_most is None else self.epochs_at_most * self.batches_per_epoch
        by_steps = math.inf if self.steps is None else self.steps * self.accumulate
        return int(min(by_epochs, by_steps))

    @property
    def epochs(self) -> int:
        """Number of epochs. The last one may be incomplete."""
        return -(-self.batches // self.batches_per_epoch)

    @property
    def total_steps(self) -> int:
        """Number of optimizer steps. Remaining batches that do not fill a step have no effect."""
        return max(self.batches // self.accumulate, 1)

    @property
    def steps_per_epoch(self) -> float:
        """Number of optimizer steps per epoch, a fraction if a step may extend into the next epoch."""
        return self.batches_per_epoch / self.accumulate


class End(keras.callbacks.Callback):
    """Callback that stops `fit` after the last batch. An incomplete last epoch also ends with validation and callbacks.

    Args:
        length: Duration of the training.
    """

    async_safe = True

    def __init__(self, length: Duration) -> None:
        super().__init__()
        self.length = length
        self._before = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._before = epoch * self.length.batches_per_epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets `stop_training`, which Keras reads after the batch, even before an asynchronous `on_train_batch_end`."""
        if self._before + batch + 1 == self.length.batches:
            self.model.stop_training = True
