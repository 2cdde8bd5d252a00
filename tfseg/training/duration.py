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

    def resumed(self, epoch: int, batch: int) -> tuple[int, int]:
        """Returns the epoch and its batch with which to continue after `batch` batches of `epoch`.

        >>> Duration(batches_per_epoch=5, steps=8).resumed(0, 3), Duration(batches_per_epoch=5, steps=8).resumed(1, 3)
        ((0, 3), (2, 0))
        """
        trained = batch > 0 and epoch * self.batches_per_epoch + batch >= self.batches
        return (epoch + 1, 0) if trained or batch == self.batches_per_epoch else (epoch, batch)


class End(keras.callbacks.Callback):
    """Callback that stops `fit` after the last batch. An incomplete last epoch also ends with validation and callbacks.

    A training that is resumed within an epoch has fewer batches left in this epoch than `fit` expects. The callback
    ends the epoch after its last batch, and lets `fit` go on with the next one.

    Args:
        length: Duration of the training.
    """

    async_safe = True

    def __init__(self, length: Duration) -> None:
        super().__init__()
        self.length = length
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets `stop_training`, which Keras reads after the batch, even before an asynchronous `on_train_batch_end`."""
        done = batch + self.model.steps_per_execution
        if self._epoch * self.length.batches_per_epoch + done >= self.length.batches:
            self.model.stop_training = True
        elif done >= self.length.batches_per_epoch:
            self.model.stop_training = _EPOCH

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.model.stop_training is _EPOCH:  # unless another callback has set it to True
            self.model.stop_training = False


_EPOCH = "the epoch"
"""Value of `stop_training` that ends an epoch, but not the training."""
