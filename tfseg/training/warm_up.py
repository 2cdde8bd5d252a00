"""Warm-up of the learning rate."""

import math
from typing import Annotated, Any, Literal, Self

import keras
from keras import ops
from pydantic import Field, model_validator

from tfseg.serialization import serializable
from tfseg.spec.declare import spec
from tfseg.spec.problems import InvalidFields

Shape = Literal["linear", "cosine", "constant"]


@spec
class WarmUp:
    """Warm-up: lower learning rates in the first steps."""

    length: Annotated[float, Field(ge=0)]
    """Number of epochs or steps. May be a fraction of an epoch. 0: no warm-up."""
    unit: Literal["epochs", "steps"] = "epochs"
    """Unit of `length`. A step is an optimizer step."""
    start: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Factor of the learning rate before the first step. It increases to 1 at the last step of the warm-up."""
    shape: Shape = "linear"
    """Increase of the factor: `linear`, `cosine` (half a period), or `constant`: the factor is `start` throughout."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.shape == "constant" and self.start == 0:
            raise InvalidFields((("start",), "expected a number greater than 0 with shape: constant; received 0"))
        return self

    def steps(self, steps_per_epoch: float) -> int:
        """Returns the number of optimizer steps, at least 1 unless `length` is 0."""
        steps = self.length * (steps_per_epoch if self.unit == "epochs" else 1)
        return max(round(steps), 1) if steps else 0


Steps = Annotated[int, Field(ge=0)]
StepsOrWarmUp = Steps | WarmUp


@serializable
class WarmUpSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Multiplies another schedule by a factor that increases to 1 during the first `steps` steps.

    With `t = (step + 1) / steps`, the factor is `start + (1 - start) * t` for `linear`, and `start + (1 - start) * (1 -
    cos(pi * t)) / 2` for `cosine`. For `constant` it is `start` during all `steps` steps. The other schedule starts at
    the first step too, so the warm-up does not affect later steps.

    Example:

    >>> schedule = WarmUpSchedule(keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0), steps=2)
    >>> [round(float(schedule(step)), 3) for step in (0, 1, 2)]
    [0.5, 0.9, 0.8]

    Args:
        schedule: A `LearningRateSchedule`, or a float.
        steps: Integer, number of warm-up steps.
        start: Float, factor before the first step.
        shape: `"linear"`, `"cosine"` or `"constant"`.

    Reference:
        Goyal et al., Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour (2017), section 2.2.
    """

    def __init__(self, schedule: Any, steps: int, start: float = 0.0, shape: Shape = "linear") -> None:
        super().__init__()
        self.schedule = keras.saving.deserialize_keras_object(schedule) if isinstance(schedule, dict) else schedule
        self.steps = steps
        self.start = start
        self.shape = shape

    def __call__(self, step: Any) -> Any:
        rate = self.schedule(step) if callable(self.schedule) else self.schedule
        done = (ops.cast(step, "float32") + 1.0) / self.steps
        return rate * ops.where(done <= 1.0, self._factor(done), 1.0)

    def _factor(self, done: Any) -> Any:
        """Returns the factor during the warm-up. `done` increases from 0 to 1."""
        if self.shape == "constant":
            return self.start
        shape = done if self.shape == "linear" else (1.0 - ops.cos(math.pi * done)) / 2.0
        return self.start + (1.0 - self.start) * shape

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "steps": self.steps,
            "start": self.start,
            "shape": self.shape,
        }


def warmed_up(schedule: Any, warmup: StepsOrWarmUp, steps_per_epoch: float) -> Any:
    """Returns `schedule` with a warm-up, if any.

    Args:
        schedule: Learning rate, a number or a Keras schedule in optimizer steps.
        warmup: Number of optimizer steps with a linear increase from 0, or a `WarmUp`.
        steps_per_epoch: Number of optimizer steps per epoch.
    """
    if not isinstance(warmup, WarmUp):
        warmup = WarmUp(length=warmup, unit="steps")
    steps = warmup.steps(steps_per_epoch)
    return WarmUpSchedule(schedule, steps, warmup.start, warmup.shape) if steps else schedule
