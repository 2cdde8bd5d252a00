"""Continuation of a training within an epoch."""

from typing import Any

import keras

from tfseg.training.state import State


class Callbacks(keras.callbacks.CallbackList):
    """Callbacks of a training that may be resumed within an epoch, to be passed to `model.fit`.

    Batches are numbered from the start of the epoch, also in the epoch in which the training is resumed.

    Args:
        callbacks: List of `keras.callbacks.Callback` instances.
        state: State from which the training is resumed.
        model: Compiled network.
        **params: Parameters of the callbacks, such as `epochs`.
    """

    def __init__(
        self, callbacks: list[keras.callbacks.Callback], state: State, model: keras.Model, **params: Any
    ) -> None:
        super().__init__(callbacks, add_history=True, model=model, **params)
        self.state = state
        self._first = 0
        self._begun = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not self._begun:  # else by `end_epoch`, before `fit`
            super().on_train_begin(logs)
        self._begun = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first = self.state.batch if epoch == self.state.epoch else 0
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_begin(self._first + batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_end(self._first + batch, logs)


def end_epoch(model: keras.Model, callbacks: Callbacks, epoch: int, validation: Any) -> None:
    """Ends an epoch of which all batches were trained before, as `fit` does: with the validation and the callbacks.

    Args:
        model: Compiled network.
        callbacks: Callbacks, which restore the metrics of the batches at the begin of the epoch.
        epoch: Epoch, counted from 0.
        validation: Batches of the validation data, or None.
    """
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(epoch)
    logs = dict(model.get_metrics_result())
    if validation is not None:
        values = model.evaluate(validation, callbacks=callbacks, return_dict=True, verbose=0)
        logs |= {f"val_{name}": value for name, value in values.items()}
    callbacks.on_epoch_end(epoch, logs)
