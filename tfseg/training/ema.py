"""Exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import keras
from pydantic import BeforeValidator, Field

from tfseg.spec.declare import spec
from tfseg.training.step import has_averages, swap_averages


@spec
class Ema:
    """Exponential moving average of the weights, for validation and saved networks."""

    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Momentum: factor of the previous average in each optimizer step. The average covers about `1 / (1 - momentum)`
    steps, which should be far fewer than the training has."""


def _momentum(value: Any) -> Any:
    """Expands `0.999` to `{momentum: 0.999}`."""
    return {"momentum": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


EmaOrMomentum = Annotated[Ema | None, BeforeValidator(_momentum)]


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Context in which the network of a compiled model has the averaged weights, if there are any."""
    exchanged = has_averages(model.optimizer)
    if exchanged:
        swap_averages(model.optimizer)
    try:
        yield
    finally:
        if exchanged:
            swap_averages(model.optimizer)


class Averages(keras.callbacks.Callback):
    """Callback that validates with the averaged weights, and gives them to the callbacks between it and `RawWeights`.

    Before each of the two phases, the weights of the network and their averages are exchanged, and exchanged back
    afterwards. Both are exact, unlike in `keras.callbacks.SwapEMAWeights`, so validation does not affect the training.
    Does nothing if the optimizer has no averages.
    """

    def __init__(self) -> None:
        super().__init__()
        self.raw = RawWeights(self)
        self._exchanged = False

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.exchange(True)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.exchange(False)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.exchange(True)

    def exchange(self, averaged: bool) -> None:
        """Sets the weights of the network to the averages if `averaged`, else to the raw weights."""
        if averaged != self._exchanged and has_averages(self.model.optimizer):
            swap_averages(self.model.optimizer)
            self._exchanged = averaged


class RawWeights(keras.callbacks.Callback):
    """Callback that ends the phase of averaged weights in `on_epoch_end`.

    Args:
        averages: Callback that began it.
    """

    def __init__(self, averages: Averages) -> None:
        super().__init__()
        self.averages = averages

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.averages.exchange(False)
