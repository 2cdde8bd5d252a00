"""Average of the networks of the last epochs."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.atomic import atomic_file
from tfseg.training.checkpoints import writing
from tfseg.training.files import CHECKPOINTS, LAST, checkpoints


class LastCheckpoints(keras.callbacks.Callback):
    """Callback that keeps the networks of the last `count` epochs in `checkpoints/<epoch>.keras`.

    They are copies of `last.keras`, so that the callback must follow `Checkpoints`. Files of later epochs, which are
    left if a training is resumed from an earlier state, are deleted.

    Args:
        folder: Run directory.
        count: Number of networks to keep.
    """

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.count = count

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        path = self.folder / CHECKPOINTS / f"{epoch + 1}.keras"
        if path.parent.is_symlink():  # not followed: files in its target may be of the user
            path.parent.unlink()
        with writing(path, self.folder), atomic_file(path) as partial:
            shutil.copyfile(self.folder / LAST, partial)
        for number, old in checkpoints(self.folder).items():
            if not epoch + 1 - self.count < number <= epoch + 1:
                old.unlink()


def average_weights(networks: Iterable[keras.Model]) -> keras.Model:
    """Returns the first network with the means of the weights of all networks, computed in float64.

    The moving statistics of batch normalization are averaged too.

    Args:
        networks: At least one network; all have the same layers.

    Reference:
        Vaswani et al., Attention Is All You Need (2017), section 6.1; Izmailov et al., Averaging Weights Leads to Wider
        Optima and Better Generalization (2018).

    Example:

    >>> networks = [keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)]) for _ in range(2)]
    >>> for network, value in zip(networks, (1.0, 4.0), strict=True):
    ...     network.set_weights([np.array([[value]])])
    >>> average_weights(networks).get_weights()[0].tolist()
    [[2.5]]
    """
    remaining, count = iter(networks), 1
    first = next(remaining)
    sums = [weight.numpy().astype(np.float64) for weight in first.weights]
    for network in remaining:  # one at a time in memory
        sums = [total + weight.numpy() for total, weight in zip(sums, network.weights, strict=True)]
        count += 1
    for weight, total in zip(first.weights, sums, strict=True):
        weight.assign(total / count)
    return first
