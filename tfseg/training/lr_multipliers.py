"""Keras optimizers that have learning rate multipliers and never apply nonfinite gradients."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tfseg.serialization import serializable
from tfseg.training.step import OptimizerStep

NO_WEIGHT_DECAY = ("bias$", "gamma$", "beta$")
"""Variables without weight decay: biases, and gamma and beta of normalization layers."""
LOWEST_SCALE = 1.0
"""Lowest useful loss scale. Gradients that are nonfinite even at this scale are not overflows caused by scaling."""


class LrMultipliers(OptimizerStep):
    """Mixin of `SGD` and `AdamW`, to be placed before the Keras optimizer among the base classes.

    **Learning rate multipliers.** `lr_multipliers` maps regular expressions to factors. The learning rate of a variable
    is multiplied by the factor of each expression that matches in its path: with `{"score": 10.0, "bias": 2.0}` the
    bias of a score layer has 20 times the learning rate. Variables whose path matches one of `no_weight_decay` have no
    weight decay.

    **Clipping and moving averages** are those of `OptimizerStep`. Gradients are clipped before weight decay.

    **Nonfinite gradients** are never applied (with TensorFlow). Without loss scaling the optimizer halts: it applies no
    further gradient, so the weights remain those at which the gradient was nonfinite. With loss scaling, where
    overflows are expected, the step is skipped and the loss scale is halved. It is doubled after `growth_steps`
    finite steps, and the optimizer halts once it is below 1. Replicas decide together, on the sum of their gradients.
    Keras's `LossScaleOptimizer` decides on the gradient of each replica, so replicas can disagree.

    Args:
        *args: Positional arguments of the Keras optimizer.
        lr_multipliers: Learning rate multipliers by regular expression.
        no_weight_decay: Regular expressions of the variables without weight decay.
        initial_scale: Initial loss scale, or None for no loss scaling.
        growth_steps: Number of consecutive finite steps after which the loss scale is doubled.
        **kwargs: Keyword arguments of the Keras optimizer.
    """

    weight_decay: float | None
    _iterations: Any

    def __init__(
        self,
        *args: Any,
        lr_multipliers: Mapping[str, float] | None = None,
        no_weight_decay: Sequence[str] = NO_WEIGHT_DECAY,
        initial_scale: float | None = None,
        growth_steps: int = 2000,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.lr_multipliers = dict(lr_multipliers or {})
        self.no_weight_decay = tuple(no_weight_decay)
        self.initial_scale = initial_scale
        self.growth_steps = growth_steps

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),  # type: ignore[misc]
            "lr_multipliers": dict(self.lr_multipliers),
            "no_weight_decay": list(self.no_weight_decay),
            "initial_scale": self.initial_scale,
            "growth_steps": self.growth_steps,
        }

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the optimizer variables, and resolves the multiplier and the weight decay of each variable."""
        if self.built:
            return
        super().build(variables)
        self._factors = tuple(learning_rate_factor(variable.path, self.lr_multipliers) for variable in variables)
        self._decays = tuple(
            0.0 if matches_any(self.no_weight_decay, variable.path) else float(self.weight_decay or 0.0)
            for variable in variables
        )
        self.bad_since = self._state("bad_since", -1, "int64")
        self.good_steps = self._state("good_steps", 0, "int64")
        self.loss_scale = self._state("loss_scale", self.initial_scale or 1.0, "float32")

    def _state(self, name: str, value: float, dtype: str) -> Any:
        return self.add_variable((), keras.initializers.Constant(value), dtype, name=name)  # type: ignore[attr-defined]

    @property
    def halted(self) -> int | None:
        """Batch, counted from 0, from which on gradients were nonfinite. None if the optimizer has not halted."""
        if not self.built or bool(ops.convert_to_numpy(self._is_active())):
            return None
        return int(self.bad_since.numpy())

    def scale_loss(self, loss: Any) -> Any:
        """Multiplies the loss by the loss scale. `apply` expects the gradients of the scaled loss."""
        if not self.initial_scale:
            return loss
        return loss * ops.cast(self.loss_scale if self.built else self.initial_scale, loss.dtype)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Applies the gradients of the scaled loss."""
        if self.initial_scale:
            if not self.built:
                self.build(list(trainable_variables or ()))
            grads = [None if grad is None else grad / ops.cast(self.loss_scale, grad.dtype) for grad in grads]
        super().apply(grads, trainable_variables)  # type: ignore[misc]

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Does nothing. `update_step` applies weight decay with the learning rate of each variable."""

    def around(self, gradients: Sequence[Any], update: Callable[[], None]) -> None:
        """Applies the update if all gradients are finite and the optimizer has not halted."""
        applies = ops.logical_and(_all_finite(gradients), self._is_active())
        ops.cond(applies, lambda: self._apply_update(update), self._skip_update)

    def _is_active(self) -> Any:
        finite = ops.less(self.bad_since, 0)
        if not self.initial_scale:
            return finite
        return ops.logical_or(finite, ops.greater_equal(self.loss_scale, LOWEST_SCALE))

    def _apply_update(self, update: Callable[[], None]) -> None:
        update()
        self.bad_since.assign(-1)
        if self.initial_scale:
            grow = ops.greater_equal(self.good_steps + 1, self.growth_steps)
            self.good_steps.assign(ops.where(grow, ops.zeros_like(self.good_steps), self.good_steps + 1))
            self.loss_scale.assign(self.loss_scale * ops.where(grow, 2.0, 1.0))

    def _skip_update(self) -> None:
        if self.initial_scale:
            self.good_steps.assign(0)
            self.loss_scale.assign(self.loss_scale * ops.where(self._is_active(), 0.5, 1.0))
        self.bad_since.assign(
            ops.where(ops.less(self.bad_since, 0), ops.cast(self._iterations, "int64"), self.bad_since)
        )


@serializable
class SGD(LrMultipliers, keras.optimizers.SGD):
    """Stochastic gradient descent with learning rate multipliers and the weight decay of Caffe.

    The gradient is replaced by `gradient + weight_decay * weight` before momentum. This is the gradient of an
    `l2(weight_decay / 2)` penalty, unlike the decoupled `weight_decay` of `keras.optimizers.SGD`.

    Example:

    >>> import numpy as np
    >>> optimizer = SGD(0.1, lr_multipliers={"bias": 2.0})
    >>> layer = keras.layers.Dense(1, kernel_initializer="ones")
    >>> layer.build((None, 1))
    >>> optimizer.apply([np.ones((1, 1), "float32"), np.ones(1, "float32")], layer.trainable_variables)
    >>> [round(float(np.squeeze(weight)), 3) for weight in layer.get_weights()]
    [0.9, -0.2]

    Args:
        learning_rate: A float or a `LearningRateSchedule`.
        momentum: Float, factor of the previous velocity in each step. Defaults to 0, plain gradient descent.
        nesterov: Boolean, whether to apply Nesterov momentum.
        lr_multipliers, no_weight_decay, initial_scale, growth_steps: See `LrMultipliers`.
        **kwargs: Other arguments of Keras optimizers, such as `weight_decay`.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        if self._decays[index]:
            gradient = ops.cast(gradient, variable.dtype) + self._decays[index] * variable
        super().update_step(gradient, variable, learning_rate * self._factors[index])


@serializable
class AdamW(LrMultipliers, keras.optimizers.AdamW):
    """AdamW with learning rate multipliers, which also scale the decoupled weight decay.

    Args:
        learning_rate: A float or a `LearningRateSchedule`.
        weight_decay: Float, weight decay. Each step subtracts `learning_rate * weight_decay * weight`.
        beta_1, beta_2, epsilon, amsgrad: See `keras.optimizers.AdamW`.
        lr_multipliers, no_weight_decay, initial_scale, growth_steps: See `LrMultipliers`.
        **kwargs: Other arguments of Keras optimizers.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype) * self._factors[index]
        if self._decays[index]:
            self.assign_sub(variable, variable * (rate * self._decays[index]))
        super().update_step(gradient, variable, rate)


def matches_any(expressions: Sequence[str], path: str) -> bool:
    """Returns whether one of the regular expressions matches in `path`."""
    return any(re.search(expression, path) for expression in expressions)


def learning_rate_factor(path: str, lr_multipliers: Mapping[str, float]) -> float:
    """Returns the product of the factors whose regular expression matches in `path`."""
    factor = 1.0
    for expression, value in lr_multipliers.items():
        factor *= value if re.search(expression, path) else 1.0
    return factor


def _all_finite(gradients: Sequence[Any]) -> Any:
    """Returns whether all gradients are finite. Checks their sums, which a nonfinite entry makes nonfinite."""
    return ops.all(ops.isfinite(ops.stack([ops.sum(gradient) for gradient in gradients])))
