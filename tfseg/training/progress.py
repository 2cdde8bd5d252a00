"""Progress of a training or an evaluation on standard output."""

import sys
from collections.abc import Callable
from typing import Any

import keras

from tfseg.training.duration import Duration


def verbosity(verbose: bool) -> int:
    """Returns Keras's `verbose`: 0 if not `verbose`, 1 (bar) in a terminal or notebook, else 2 (one line per epoch)."""
    interactive = sys.stdout.isatty() or "ipykernel" in sys.modules
    return (1 if interactive else 2) if verbose else 0


def image_bar(verbose: bool) -> Callable[[int], Callable[[], None]]:
    """Returns a function of the number of images that shows a progress bar, if `verbose` and in a terminal.

    The function returns another one, to be called after every image.
    """

    def start(count: int) -> Callable[[], None]:
        bar = keras.utils.Progbar(count, verbose=int(verbose and sys.stdout.isatty()), unit_name="image")
        return lambda: bar.add(1)

    return start


class Progress(keras.callbacks.ProgbarLogger):
    """Keras's progress bar with the actual number of batches of each epoch; the last one may be incomplete.

    Args:
        length: Duration of the training.
    """

    def __init__(self, length: Duration) -> None:
        super().__init__()
        self.length = length

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        whole = self.length.batches_per_epoch
        self.target = min(whole, self.length.batches - epoch * whole)
        super().on_epoch_begin(epoch, logs)
