"""Stops a training whose loss is not finite, and says where that began."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfseg.errors import RunError
from tfseg.keras_internals import calls_of

EVERY = 20
"""Steps between two looks at the optimizer; it stands still meanwhile, so that nothing is lost."""


class NanGuard(keras.callbacks.Callback):
    """Ends `fit` with a `RunError` when the loss or its gradient is not finite: the step, its files, the layer.

    It costs no step a wait for the device: it reads the loss that Keras logs anyway, in Keras's own thread, and asks
    the optimizer every few steps. Since the optimizer does not apply such a gradient, the weights are still those that
    made it, and the step can be computed again. Nothing that is not finite is ever saved: this callback stands before
    those that write.

    Args:
        steps_per_epoch: turns the optimizer's count of steps into an epoch and a step.
        batch_names: `(epoch, step)`, both from 0, to the files of that training batch.
        batch: `(epoch, step)` to the images and masks of that training batch.
        accumulate: the batches whose gradients the optimizer takes together; it cannot tell which of them was at fault.
    """

    async_safe = True

    def __init__(
        self,
        steps_per_epoch: int,
        batch_names: Callable[[int, int], tuple[str, ...]] | None = None,
        batch: Callable[[int, int], tuple[Any, Any]] | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.steps_per_epoch = steps_per_epoch
        self.batch_names = batch_names
        self.batch = batch
        self.accumulate = accumulate
        self._epoch = 0
        self._bad: list[int] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._bad = epoch, []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            self._bad.append(batch)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._bad or batch % EVERY == 0:
            self._check()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._check()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check()
        if (name := spoilt(self.model)) is not None:
            raise RunError(
                f"training stopped after epoch {epoch + 1}: {name} is not finite any more, although the loss was. "
                "Saved networks are from earlier epochs. Try a smaller training.optimizer.learning_rate; for a "
                "statistic of batch normalization under mixed_float16 try training.precision: mixed_bfloat16"
            )

    def _check(self) -> None:
        halted = getattr(self.model.optimizer, "halted", None)  # of our own optimizers
        if halted is not None:
            raise RunError(self._story(range(halted + 1 - self.accumulate, halted + 1)))
        if self._bad:
            bad = self._epoch * self.steps_per_epoch + min(self._bad)
            raise RunError(self._story(range(bad, bad + 1)))

    def _story(self, batches: range) -> str:
        """What happened in one of these batches, which count from the beginning of the training."""
        places = [divmod(batch, self.steps_per_epoch) for batch in batches]
        (first_epoch, first), (epoch, step) = places[0], places[-1]
        names = [name for place in places for name in (self.batch_names(*place) if self.batch_names else ())]
        begun = "" if len(places) == 1 else f"epoch {first_epoch + 1}, step {first + 1} to "
        return (
            f"training stopped: the loss or its gradient is not finite at {begun}epoch {epoch + 1}, step {step + 1} of "
            f"{self.steps_per_epoch}\n"
            f"  files: {', '.join(names) or 'not known'}\n"
            f"  first layer: {self._cause(places)}\n"
            f"  learning rate now: {float(self.model.optimizer.learning_rate):.3g}\n"
            "The step was not applied and nothing of it was saved. Try a smaller training.optimizer.learning_rate, a "
            "warm-up (training.schedule.warmup), or training.precision: float32 or mixed_bfloat16"
        )

    def _cause(self, places: Sequence[tuple[int, int]]) -> str:
        """The first cause that is found in a batch; else that of the last one."""
        found = "not looked for"
        for place in places if self.batch else ():
            found = diagnose(self.model, *self.batch(*place))  # type: ignore[misc]
            if not found.startswith("none; every"):
                break
        return found


def diagnose(model: keras.Model, image: Any, mask: Any) -> str:
    """Where a training step on `image` and `mask` first has a value that is not finite, in words.

    The layers are computed in order, as in training. A layer that is used several times is passed over: what it
    spoils shows in the next one.
    """
    if not _finite(image):
        return "none; the images themselves are not finite"
    layers = [layer for layer in model.layers if len(calls_of(layer)) == 1]
    outputs = keras.Model(model.input, [layer.output for layer in layers])(ops.convert_to_tensor(image), training=True)
    for layer, output in zip(layers, outputs, strict=True):
        if not all(_finite(value) for value in keras.tree.flatten(output)):
            weight = next((weight.path for weight in layer.trainable_weights if not _finite(weight)), None)
            blame = f", whose weight {weight} is not finite" if weight else ""
            return f"{layer.name} ({type(layer).__name__}){blame}"
    labels = np.unique(ops.convert_to_numpy(mask))
    return f"none; every layer's output is finite, the loss or its gradient is not (labels found: {_listed(labels)})"


def spoilt(model: keras.Model) -> str | None:
    """The path of the first variable of `model` that is not finite."""
    return next((weight.path for weight in model.weights if not _finite(weight)), None)


def _finite(value: Any) -> bool:
    return bool(ops.all(ops.isfinite(ops.cast(value, "float32"))))


def _listed(values: np.ndarray, limit: int = 30) -> str:
    return ", ".join(str(value) for value in values[:limit]) + (", …" if len(values) > limit else "")
