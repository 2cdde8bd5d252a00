"""How far a training or a measurement is, on standard output."""

import sys
from typing import Any

import keras

from tfseg.training.duration import Duration


def verbosity(verbose: bool) -> int:
    """Keras's `verbose`: 1 draws a bar, which takes a terminal or a notebook; 2 writes a line at the end; 0 nothing."""
    drawn = sys.stdout.isatty() or "ipykernel" in sys.modules
    return (1 if drawn else 2) if verbose else 0


class Progress(keras.callbacks.ProgbarLogger):
    """Keras's progress bar, with the batches that an epoch really has: the last one may be cut short.

    Args:
        length: the length of the training.
    """

    def __init__(self, length: Duration) -> None:
        super().__init__()
        self.length = length

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        whole = self.length.batches_per_epoch
        self.target = min(whole, self.length.batches - epoch * whole)
        super().on_epoch_begin(epoch, logs)
