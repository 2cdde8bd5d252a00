"""Keras optimizers that treat parts of a network differently, and never apply a gradient that is not finite."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tfseg.keras_internals import BetweenSumAndUpdate
from tfseg.serialization import serializable

NO_WEIGHT_DECAY = ("bias$", "gamma$", "beta$")
"""Biases, and the scales and shifts of normalization: what weight decay leaves alone."""
LOWEST_SCALE = 1.0
"""With a loss scale below this the loss itself must be at fault, and halving the scale further does not help."""


class LrMultipliers(BetweenSumAndUpdate):
    """What `SGD` and `AdamW` share; it stands before the Keras optimizer among the bases.

    **Parts.** `lr_multipliers` maps regular expressions to factors. The learning rate of a variable is multiplied by
    the factor of every expression that is found in its path: with `{"score": 10.0, "bias": 2.0}` the bias of a score
    layer learns at 20 times the rate. Weight decay leaves out the variables in whose path an expression of
    `no_weight_decay` is found.

    **Gradients that are not finite** are never applied (with TensorFlow). Without loss scaling the optimizer stands
    still from then on, so that the weights remain the ones that made the gradient. With loss scaling an overflow is no
    accident: the scale is halved, and doubled again after `growth_steps` good steps; only when halving has not helped
    down to a scale of 1 does the optimizer stand still. Replicas decide together, on the sum of their gradients.
    Keras's `LossScaleOptimizer` decides on each replica's own gradient, so that replicas can disagree.
    """

    built: bool
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
        """Creates the state, and looks up the factor and the decay of each variable."""
        if self.built:
            return
        super().build(variables)  # type: ignore[misc]
        self._factors = tuple(learning_rate_factor(variable.path, self.lr_multipliers) for variable in variables)
        self._decays = tuple(
            0.0 if found(self.no_weight_decay, variable.path) else float(self.weight_decay or 0.0)
            for variable in variables
        )
        self.bad_since = self._state("bad_since", -1, "int64")
        self.good_steps = self._state("good_steps", 0, "int64")
        self.loss_scale = self._state("loss_scale", self.initial_scale or 1.0, "float32")

    def _state(self, name: str, value: float, dtype: str) -> Any:
        return self.add_variable((), keras.initializers.Constant(value), dtype, name=name)  # type: ignore[attr-defined]

    @property
    def halted(self) -> int | None:
        """The step, from 0, since which no gradient was finite and none will be applied; None while all is well."""
        if not self.built or bool(ops.convert_to_numpy(self._may_move())):
            return None
        return int(self.bad_since.numpy())

    def scale_loss(self, loss: Any) -> Any:
        """The loss whose gradient `apply` expects."""
        if not self.initial_scale:
            return loss
        return loss * ops.cast(self.loss_scale if self.built else self.initial_scale, loss.dtype)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """One step, by the gradients of the scaled loss."""
        if self.initial_scale:
            if not self.built:
                self.build(list(trainable_variables or ()))
            grads = [None if grad is None else grad / ops.cast(self.loss_scale, grad.dtype) for grad in grads]
        super().apply(grads, trainable_variables)  # type: ignore[misc]

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Nothing: `update_step` does it, where each variable's learning rate is known."""

    def around(self, gradients: Sequence[Any], update: Callable[[], None]) -> None:
        """Makes the update where all gradients are finite and nothing has halted the optimizer."""
        may = ops.logical_and(_all_finite(gradients), self._may_move())
        ops.cond(may, lambda: self._move(update), self._stay)

    def _may_move(self) -> Any:
        well = ops.less(self.bad_since, 0)
        return ops.logical_or(well, ops.greater_equal(self.loss_scale, LOWEST_SCALE)) if self.initial_scale else well

    def _move(self, update: Callable[[], None]) -> None:
        update()
        self.bad_since.assign(-1)
        if self.initial_scale:
            grow = ops.greater_equal(self.good_steps + 1, self.growth_steps)
            self.good_steps.assign(ops.where(grow, ops.zeros_like(self.good_steps), self.good_steps + 1))
            self.loss_scale.assign(self.loss_scale * ops.where(grow, 2.0, 1.0))

    def _stay(self) -> None:
        if self.initial_scale:
            self.good_steps.assign(0)
            self.loss_scale.assign(self.loss_scale * ops.where(self._may_move(), 0.5, 1.0))
        self.bad_since.assign(
            ops.where(ops.less(self.bad_since, 0), ops.cast(self._iterations, "int64"), self.bad_since)
        )


@serializable
class SGD(LrMultipliers, keras.optimizers.SGD):
    """Stochastic gradient descent with parts, and weight decay as Caffe means it.

    `gradient + weight_decay * weight` takes the place of the gradient, before momentum: the gradient of an
    `l2(weight_decay / 2)` penalty, which Keras's own `weight_decay` is not.

    Example:

    >>> import numpy as np
    >>> optimizer = SGD(0.1, lr_multipliers={"bias": 2.0})
    >>> layer = keras.layers.Dense(1, kernel_initializer="ones")
    >>> layer.build((None, 1))
    >>> optimizer.apply([np.ones((1, 1), "float32"), np.ones(1, "float32")], layer.trainable_variables)
    >>> [round(float(np.squeeze(weight)), 3) for weight in layer.get_weights()]
    [0.9, -0.2]

    Args:
        learning_rate: a number or a schedule.
        momentum: how much of the last step each step keeps.
        nesterov: look ahead along the momentum.
        lr_multipliers, no_weight_decay, initial_scale, growth_steps: see `LrMultipliers`; None is no loss scaling.
        **kwargs: what every Keras optimizer takes, `weight_decay` among it.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        if self._decays[index]:
            gradient = ops.cast(gradient, variable.dtype) + self._decays[index] * variable
        super().update_step(gradient, variable, learning_rate * self._factors[index])


@serializable
class AdamW(LrMultipliers, keras.optimizers.AdamW):
    """AdamW with parts: the decoupled weight decay of a variable follows its own learning rate.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: the share of a weight that is taken away at each step, times the learning rate.
        beta_1, beta_2, epsilon, amsgrad: as in `keras.optimizers.AdamW`.
        lr_multipliers, no_weight_decay, initial_scale, growth_steps: see `LrMultipliers`; None is no loss scaling.
        **kwargs: what every Keras optimizer takes.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype) * self._factors[index]
        if self._decays[index]:
            self.assign_sub(variable, variable * (rate * self._decays[index]))
        super().update_step(gradient, variable, rate)


def found(expressions: Sequence[str], path: str) -> bool:
    """Whether one of the regular expressions is found in `path`."""
    return any(re.search(expression, path) for expression in expressions)


def learning_rate_factor(path: str, lr_multipliers: Mapping[str, float]) -> float:
    """The product of the factors whose regular expression is found in `path`."""
    factor = 1.0
    for expression, value in lr_multipliers.items():
        factor *= value if re.search(expression, path) else 1.0
    return factor


def _all_finite(gradients: Sequence[Any]) -> Any:
    """Whether every gradient is finite, by their sums: one pass over each, and what is not finite spoils its sum."""
    return ops.all(ops.isfinite(ops.stack([ops.sum(gradient) for gradient in gradients])))
