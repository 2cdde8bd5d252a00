"""Optimizer steps: clipping of gradients and moving averages of weights, equal for any number of replicas."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import keras
from keras import ops

from tfseg.keras_internals import BetweenSumAndUpdate, moving_averages


class OptimizerStep(BetweenSumAndUpdate):
    """Mixin of Keras optimizers, to be placed before the Keras optimizer among the base classes.

    **Clipping.** `clipnorm`, `clipvalue` and `global_clipnorm` limit the gradient of the global batch: summed over all
    replicas, averaged over accumulated batches, without loss scale. Keras limits the gradient of each replica, which
    makes the result depend on the number of replicas. Norms are computed without overflow, so finite gradients remain
    finite; nonfinite gradients remain nonfinite.

    **Moving averages.** With `use_ema`, the average of each weight is updated once per applied step: `ema_momentum *
    average + (1 - ema_momentum) * weight`. The first applied step sets it to the weight. Keras also updates it after
    batches that only accumulate gradients, or whose step is skipped.
    """

    built: bool
    use_ema: bool
    ema_momentum: float
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the optimizer variables, with `use_ema` also the averages and the number of averaged steps."""
        if self.built:
            return
        super().build(variables)  # type: ignore[misc]
        if self.use_ema:
            self.averaged_steps = self.add_variable((), "zeros", "int64", name="averaged_steps")  # type: ignore[attr-defined]

    def clipping(self, gradients: list[Any]) -> list[Callable[[Any], Any]]:
        """Returns a function per variable that clips its gradient, given all `gradients`."""
        if self.clipvalue:
            return [partial(clip_by_value, limit=self.clipvalue)] * len(gradients)
        if self.clipnorm:
            return [partial(ops.multiply, norm_factor([gradient], self.clipnorm)) for gradient in gradients]
        if self.global_clipnorm:
            return [partial(ops.multiply, norm_factor(gradients, self.global_clipnorm))] * len(gradients)
        return super().clipping(gradients)

    def average(self, average: Any, variable: Any) -> None:
        """Updates the moving average of a variable."""
        momentum = ops.cast(ops.where(self.averaged_steps > 0, self.ema_momentum, 0.0), variable.dtype)
        average.assign(momentum * average + (1 - momentum) * variable)

    def applied(self) -> None:
        """Counts the averaged steps."""
        if self.use_ema:
            self.averaged_steps.assign_add(1)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Sets the weights to their averages, if there are any. Keras calls this at the end of `fit`."""
        if has_averages(self):
            super().finalize_variable_values(var_list)  # type: ignore[misc]


def clip_by_value(gradient: Any, *, limit: float) -> Any:
    """Returns the gradient with entries clipped to `[-limit, limit]`. Infinite entries are not clipped."""
    return ops.where(ops.isfinite(gradient), ops.clip(gradient, -limit, limit), gradient)


def norm_factor(gradients: Sequence[Any], limit: float) -> Any:
    """Returns the factor of at most 1 that limits the L2 norm of all `gradients` together to `limit`.

    Entries are divided by the largest one, so that their squares do not overflow.

    >>> round(float(norm_factor([ops.array([3.0, 4.0]), ops.zeros(2)], 1.0)), 3)
    0.2
    """
    largest = ops.max(ops.stack([ops.max(ops.abs(gradient)) for gradient in gradients]))
    unit = ops.where(largest > 0, largest, ops.ones_like(largest))
    squares = ops.sum(ops.stack([ops.sum(ops.square(gradient / unit)) for gradient in gradients]))
    return ops.minimum(limit / unit / ops.sqrt(squares), 1.0)


def has_averages(optimizer: keras.optimizers.Optimizer) -> bool:
    """Returns whether an optimizer has applied a step with `use_ema`."""
    steps = getattr(optimizer, "averaged_steps", None)
    return steps is not None and int(steps.numpy()) > 0


def swap_averages(optimizer: keras.optimizers.Optimizer) -> None:
    """Exchanges the weights and their moving averages.

    Keras's `SwapEMAWeights` adds and subtracts them, so that the weights after two exchanges differ by rounding.
    """
    for variable, average in moving_averages(optimizer):
        weights, averages = ops.copy(variable), ops.copy(average)
        variable.assign(averages)
        average.assign(weights)


@cache
def with_optimizer_step(kind: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    """Returns a subclass of a Keras optimizer, of the same name, with the mixin `OptimizerStep`."""
    return type(kind.__name__, (OptimizerStep, kind), {"__doc__": kind.__doc__, "__module__": __name__})
