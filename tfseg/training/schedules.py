"""Learning rate schedules, in optimizer steps."""

from typing import Annotated, Any, Literal

import keras
from keras import ops
from pydantic import Field

from tfseg.serialization import serializable
from tfseg.spec.declare import spec
from tfseg.training.contracts import ScheduleSpec
from tfseg.training.warm_up import StepsOrWarmUp, warmed_up


@serializable
class PerOptimizerStep(keras.optimizers.schedules.LearningRateSchedule):
    """Converts a schedule in optimizer steps for an optimizer with gradient accumulation.

    Keras calls schedules with the number of batches, even if gradients are accumulated.

    Example:

    >>> decay = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    >>> schedule = PerOptimizerStep(decay, gradient_accumulation_steps=2)
    >>> [round(float(schedule(batch)), 3) for batch in (0, 1, 2, 3, 4)]
    [1.0, 1.0, 0.9, 0.9, 0.8]

    Args:
        schedule: A `LearningRateSchedule`.
        gradient_accumulation_steps: Integer, number of batches per optimizer step.
    """

    def __init__(self, schedule: Any, gradient_accumulation_steps: int) -> None:
        super().__init__()
        self.schedule = keras.saving.deserialize_keras_object(schedule) if isinstance(schedule, dict) else schedule
        self.gradient_accumulation_steps = gradient_accumulation_steps

    def __call__(self, step: Any) -> Any:
        return self.schedule(ops.floor_divide(step, self.gradient_accumulation_steps))

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }


@spec
class Constant(ScheduleSpec):
    """Constant learning rate."""

    type: Literal["constant"] = "constant"
    warmup: StepsOrWarmUp = 0
    """Warm-up. A number: steps in which the learning rate is multiplied by `(step + 1) / warmup`."""

    def __call__(self, learning_rate: float, *, steps: int, steps_per_epoch: float) -> Any:
        """Creates the learning rate, a number or a Keras schedule."""
        return warmed_up(learning_rate, self.warmup, steps_per_epoch)


@spec
class Poly(ScheduleSpec):
    """Polynomial decay to zero: `learning_rate * (1 - step / steps) ** power`."""

    type: Literal["poly"] = "poly"
    power: Annotated[float, Field(gt=0)] = 0.9
    """Exponent of the decay. 1 is linear; smaller values decay later."""
    warmup: StepsOrWarmUp = 0
    """Warm-up. A number: steps in which the learning rate is multiplied by `(step + 1) / warmup`."""

    def __call__(self, learning_rate: float, *, steps: int, steps_per_epoch: float) -> Any:
        """Creates the learning rate, a number or a Keras schedule."""
        decay = keras.optimizers.schedules.PolynomialDecay(
            learning_rate, steps, end_learning_rate=0.0, power=self.power
        )
        return warmed_up(decay, self.warmup, steps_per_epoch)


@spec
class Cosine(ScheduleSpec):
    """Cosine decay: half a period of the cosine, from `learning_rate` to `alpha * learning_rate`."""

    type: Literal["cosine"] = "cosine"
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Learning rate at the end, as a fraction of `learning_rate`."""
    warmup: StepsOrWarmUp = 0
    """Warm-up. A number: steps in which the learning rate is multiplied by `(step + 1) / warmup`."""

    def __call__(self, learning_rate: float, *, steps: int, steps_per_epoch: float) -> Any:
        """Creates the learning rate, a number or a Keras schedule."""
        decay = keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=self.alpha)
        return warmed_up(decay, self.warmup, steps_per_epoch)


@spec
class Step(ScheduleSpec):
    """Step decay: multiplies the learning rate by `factor` after every `every` epochs or steps."""

    type: Literal["step"] = "step"
    every: Annotated[float, Field(gt=0)]
    """Number of epochs or steps between two decays. May be a fraction."""
    unit: Literal["epochs", "steps"] = "epochs"
    """Unit of `every`. A step is an optimizer step, an iteration of Caffe."""
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of the learning rate at each decay."""
    warmup: StepsOrWarmUp = 0
    """Warm-up. A number: steps in which the learning rate is multiplied by `(step + 1) / warmup`."""

    def __call__(self, learning_rate: float, *, steps: int, steps_per_epoch: float) -> Any:
        """Creates the learning rate, a number or a Keras schedule."""
        length = self.every * (steps_per_epoch if self.unit == "epochs" else 1)
        decay = keras.optimizers.schedules.ExponentialDecay(
            learning_rate, max(round(length), 1), self.factor, staircase=True
        )
        return warmed_up(decay, self.warmup, steps_per_epoch)


def per_optimizer_step(schedule: Any, accumulate: int) -> Any:
    """Returns `schedule` for an optimizer with `accumulate` batches per step."""
    return PerOptimizerStep(schedule, accumulate) if accumulate > 1 and callable(schedule) else schedule
