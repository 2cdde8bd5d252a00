"""How the learning rate goes from the first step to the last. A step is an update of the weights."""

from typing import Annotated, Any, Literal

import keras
from keras import ops
from pydantic import Field

from tfseg.serialization import serializable
from tfseg.spec.declare import spec
from tfseg.training.contracts import ScheduleSpec

WarmUp = Annotated[int, Field(ge=0)]


@serializable
class LinearWarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, multiplied by `(step + 1) / steps` during the first `steps` steps.

    The other schedule counts from the first step on, so that a warm-up changes nothing after it.

    Example:

    >>> schedule = LinearWarmUp(keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0), steps=2)
    >>> [round(float(schedule(step)), 3) for step in (0, 1, 2)]
    [0.5, 0.9, 0.8]

    Args:
        schedule: a `LearningRateSchedule`, or a number.
        steps: how long the warm-up takes.
    """

    def __init__(self, schedule: Any, steps: int) -> None:
        super().__init__()
        self.schedule = keras.saving.deserialize_keras_object(schedule) if isinstance(schedule, dict) else schedule
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        rate = self.schedule(step) if callable(self.schedule) else self.schedule
        return rate * ops.minimum((ops.cast(step, "float32") + 1.0) / self.steps, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "steps": self.steps}


@serializable
class PerOptimizerStep(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule for an optimizer that updates the weights after every `gradient_accumulation_steps` batches.

    Keras asks a schedule for the rate of a batch, even where gradients are accumulated; schedules here count updates.

    Example:

    >>> decay = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    >>> schedule = PerOptimizerStep(decay, gradient_accumulation_steps=2)
    >>> [round(float(schedule(batch)), 3) for batch in (0, 1, 2, 3, 4)]
    [1.0, 1.0, 0.9, 0.9, 0.8]

    Args:
        schedule: a `LearningRateSchedule`.
        gradient_accumulation_steps: batches of one update.
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
    """The same learning rate from the first step to the last."""

    type: Literal["constant"] = "constant"
    warmup: WarmUp = 0
    """Steps over which the rate rises from 0."""

    def __call__(self, learning_rate: float, *, steps: int, steps_per_epoch: float) -> Any:
        """A number, or a Keras schedule that starts from `learning_rate`."""
        return warmed_up(learning_rate, self.warmup)


@spec
class Poly(ScheduleSpec):
    """`learning_rate * (1 - step / steps) ** power`, changing with every step; zero at the end of the training."""

    type: Literal["poly"] = "poly"
    power: Annotated[float, Field(gt=0)] = 0.9
    """1 is a straight line; the smaller, the longer the rate stays high."""
    warmup: WarmUp = 0
    """Steps over which the rate rises from 0."""

    def __call__(self, learning_rate: float, *, steps: int, steps_per_epoch: float) -> Any:
        """A number, or a Keras schedule that starts from `learning_rate`."""
        decay = keras.optimizers.schedules.PolynomialDecay(
            learning_rate, steps, end_learning_rate=0.0, power=self.power
        )
        return warmed_up(decay, self.warmup)


@spec
class Step(ScheduleSpec):
    """The learning rate times `factor` after every `every` epochs, or steps."""

    type: Literal["step"] = "step"
    every: Annotated[float, Field(gt=0)]
    """How long the rate stays as it is; may be a fraction."""
    unit: Literal["epochs", "steps"] = "epochs"
    """What `every` counts; a step is an update of the weights, what Caffe calls an iteration."""
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """What the rate is multiplied by."""
    warmup: WarmUp = 0
    """Steps over which the rate rises from 0."""

    def __call__(self, learning_rate: float, *, steps: int, steps_per_epoch: float) -> Any:
        """A number, or a Keras schedule that starts from `learning_rate`."""
        length = self.every * (steps_per_epoch if self.unit == "epochs" else 1)
        decay = keras.optimizers.schedules.ExponentialDecay(
            learning_rate, max(round(length), 1), self.factor, staircase=True
        )
        return warmed_up(decay, self.warmup)


def warmed_up(schedule: Any, steps: int) -> Any:
    """`schedule` itself, or `schedule` after a warm-up of `steps` steps."""
    return LinearWarmUp(schedule, steps) if steps else schedule


def per_optimizer_step(schedule: Any, accumulate: int) -> Any:
    """`schedule` for an optimizer that updates the weights after every `accumulate` batches."""
    return PerOptimizerStep(schedule, accumulate) if accumulate > 1 and callable(schedule) else schedule
