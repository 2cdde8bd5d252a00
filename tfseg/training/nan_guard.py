"""Stops a training with a nonfinite loss, and reports its origin."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfseg.errors import RunError
from tfseg.keras_internals import calls_of

CHECK_FREQ = 20
"""Steps between two checks of the optimizer. A halted optimizer applies no gradients, so late checks do no harm."""


class NanGuard(keras.callbacks.Callback):
    """Callback that raises a `RunError` if the loss or its gradient is nonfinite, and reports step, files and layer.

    Steps do not wait for the device: the callback reads the logged loss in Keras's callback thread, and checks the
    optimizer every few steps. As the optimizer does not apply nonfinite gradients, the weights are still those of the
    nonfinite step, which can be recomputed. The callback must precede callbacks that write files, so that nonfinite
    weights are never saved.

    Args:
        steps_per_epoch: Number of batches per epoch.
        batch_names: Function from `(epoch, step)`, counted from 0, to the file names of that training batch.
        batch: Function from `(epoch, step)` to the images and masks of that training batch.
        accumulate: Number of batches per optimizer step. All batches of a nonfinite step are reported.
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
            self._bad.append(batch)  # the last batch of the call, with `steps_per_execution`

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._bad or batch % CHECK_FREQ == 0:
            self._check()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._check()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check()
        if (name := nonfinite_variable(self.model)) is not None:
            raise RunError(
                f"training stopped after epoch {epoch + 1}: {name} is not finite, although the loss is. "
                "Saved networks are from earlier epochs. Try a smaller training.optimizer.learning_rate; for batch "
                "normalization statistics with mixed_float16, try training.precision: mixed_bfloat16"
            )

    def _check(self) -> None:
        halted = getattr(self.model.optimizer, "halted", None)  # only in optimizers of tfseg
        if halted is not None:
            raise RunError(self._message(range(halted + 1 - self.accumulate, halted + 1)))
        if self._bad:
            first = self._epoch * self.steps_per_epoch + min(self._bad)
            raise RunError(self._message(range(first + 1 - self.model.steps_per_execution, first + 1)))

    def _message(self, batches: range) -> str:
        """Returns the error message for these batches, counted from the start of the training."""
        steps = [divmod(batch, self.steps_per_epoch) for batch in batches]
        (first_epoch, first), (epoch, step) = steps[0], steps[-1]
        names = [name for each in steps for name in (self.batch_names(*each) if self.batch_names else ())]
        start = "" if len(steps) == 1 else f"epoch {first_epoch + 1}, step {first + 1} to "
        return (
            f"training stopped: the loss or its gradient is not finite at {start}epoch {epoch + 1}, step {step + 1} of "
            f"{self.steps_per_epoch}\n"
            f"  files: {', '.join(names) or 'unknown'}\n"
            f"  first nonfinite layer: {self._diagnosis(steps)}\n"
            f"  learning rate now: {float(self.model.optimizer.learning_rate):.3g}\n"
            "The step was not applied, and no checkpoint contains it. Try a smaller training.optimizer.learning_rate, "
            "a warm-up (training.schedule.warmup), or training.precision: float32 or mixed_bfloat16"
        )

    def _diagnosis(self, steps: Sequence[tuple[int, int]]) -> str:
        """Returns the diagnosis of the first batch with a nonfinite image or layer output, else of the last one."""
        diagnosis = "unknown"
        for step in steps if self.batch else ():
            diagnosis = diagnose(self.model, *self.batch(*step))  # type: ignore[misc]
            if not diagnosis.startswith("none; all"):
                break
        return diagnosis


def diagnose(model: keras.Model, image: Any, mask: Any) -> str:
    """Describes the first nonfinite layer output of a training step on `image` and `mask`.

    Layers are evaluated in order, in training mode. Layers called several times are skipped: their nonfinite outputs
    appear in the next layer.
    """
    if not _finite(image):
        return "none; the images are not finite"
    layers = [layer for layer in model.layers if len(calls_of(layer)) == 1]
    outputs = keras.Model(model.input, [layer.output for layer in layers])(ops.convert_to_tensor(image), training=True)
    for layer, output in zip(layers, outputs, strict=True):
        if not all(_finite(value) for value in keras.tree.flatten(output)):
            weight = next((weight.path for weight in layer.trainable_weights if not _finite(weight)), None)
            suffix = f", whose weight {weight} is not finite" if weight else ""
            return f"{layer.name} ({type(layer).__name__}){suffix}"
    labels = np.unique(ops.convert_to_numpy(mask))
    return f"none; all layer outputs are finite, the loss or its gradient is not (labels: {_joined(labels)})"


def nonfinite_variable(model: keras.Model) -> str | None:
    """Returns the path of the first nonfinite variable of `model`, or None."""
    return next((weight.path for weight in model.weights if not _finite(weight)), None)


def _finite(value: Any) -> bool:
    return bool(ops.all(ops.isfinite(ops.cast(value, "float32"))))


def _joined(values: np.ndarray, limit: int = 30) -> str:
    return ", ".join(str(value) for value in values[:limit]) + (", …" if len(values) > limit else "")
