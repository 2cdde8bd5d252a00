"""How long a training is, in batches, in steps of the optimizer and in epochs."""

import math
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class Duration:
    """The length of a training on data whose epochs have `batches_per_epoch` batches.

    >>> length = Duration(batches_per_epoch=5, accumulate=2, steps=6)
    >>> length.batches, length.epochs, length.total_steps, length.steps_per_epoch
    (12, 3, 6, 2.5)

    Args:
        batches_per_epoch: the batches in which every training image is seen once.
        accumulate: how many batches make one step of the optimizer.
        epochs_at_most: the epochs after which the training ends, or None.
        steps: the steps after which it ends, within an epoch if need be, or None. The earlier of both counts.
    """

    batches_per_epoch: int
    accumulate: int = 1
    epochs_at_most: int | None = None
    steps: int | None = None

    @property
    def batches(self) -> int:
        """All batches of the training."""
        by_epochs = math.inf if self.epochs_at_most is None else self.epochs_at_most * self.batches_per_epoch
        by_steps = math.inf if self.steps is None else self.steps * self.accumulate
        return int(min(by_epochs, by_steps))

    @property
    def epochs(self) -> int:
        """All epochs, of which `steps` may cut the last one short."""
        return -(-self.batches // self.batches_per_epoch)

    @property
    def total_steps(self) -> int:
        """All steps of the optimizer. Batches at the end that are too few for one are not learned from."""
        return max(self.batches // self.accumulate, 1)

    @property
    def steps_per_epoch(self) -> float:
        """Steps of the optimizer in an epoch; a fraction where a step may reach into the next one."""
        return self.batches_per_epoch / self.accumulate


class End(keras.callbacks.Callback):
    """Ends `fit` after its last batch, which may lie within an epoch; that epoch is then ended as any other.

    Args:
        length: the length of the training.
    """

    async_safe = True

    def __init__(self, length: Duration) -> None:
        super().__init__()
        self.length = length
        self._before = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._before = epoch * self.length.batches_per_epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keras asks for `stop_training` after the batch; its end may be told later, and from another thread."""
        if self._before + batch + 1 == self.length.batches:
            self.model.stop_training = True
