"""The 1cycle schedule of the learning rate."""

import math
from typing import Annotated, Any, Literal

import keras
from keras import ops
from pydantic import Field

from tfseg.serialization import serializable
from tfseg.spec.declare import spec
from tfseg.training.contracts import ScheduleSpec

Shape = Literal["cosine", "linear"]


@serializable
class OneCycleSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Increases the learning rate from `start` to `peak`, and then decreases it to `end`.

    Example:

    >>> schedule = OneCycleSchedule(1.0, steps=10, increase=0.4, start=0.2, end=0.0, shape="linear")
    >>> [round(float(schedule(step)), 3) for step in (0, 2, 4, 7, 10)]
    [0.2, 0.6, 1.0, 0.5, 0.0]

    Args:
        peak: Float, largest learning rate.
        steps: Integer, number of steps.
        increase: Float, fraction of the steps in which the learning rate increases.
        start: Float, learning rate of the first step.
        end: Float, learning rate after the last step.
        shape: `"cosine"` or `"linear"`, for both phases.
    """

    def __init__(self, peak: float, steps: int, increase: float, start: float, end: float, shape: Shape) -> None:
        super().__init__()
        self.peak = peak
        self.steps = steps
        self.increase = increase
        self.start = start
        self.end = end
        self.shape = shape

    def __call__(self, step: Any) -> Any:
        done = ops.minimum(ops.cast(step, "float32") / self.steps, 1.0)
        rising = self._between(self.start, self.peak, done / self.increase)
        falling = self._between(self.end, self.peak, (1.0 - done) / (1.0 - self.increase))  # exactly `end` at the end
        return ops.where(done < self.increase, rising, falling)

    def _between(self, first: float, last: float, done: Any) -> Any:
        done = done if self.shape == "linear" else (1.0 - ops.cos(math.pi * done)) / 2.0
        return first + (last - first) * done

    def get_config(self) -> dict[str, Any]:
        names = ("peak", "steps", "increase", "start", "end", "shape")
        return {name: getattr(self, name) for name in names}


@spec
class OneCycle(ScheduleSpec):
    """1cycle: the learning rate increases to `learning_rate` and then decreases to almost zero (Smith and Topin)."""

    type: Literal["one_cycle"] = "one_cycle"
    increase: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Fraction of the steps in which the learning rate increases. It replaces a warm-up."""
    shape: Shape = "cosine"
    """Increase and decrease: `cosine` (half a period each) or `linear`."""
    div_factor: Annotated[float, Field(ge=1)] = 25.0
    """Divisor for the start: the first step has the learning rate `learning_rate / div_factor`."""
    final_div_factor: Annotated[float, Field(ge=1)] = 1e4
    """Divisor for the end: the learning rate decreases to `learning_rate / div_factor / final_div_factor`."""

    def __call__(self, learning_rate: float, *, steps: int, steps_per_epoch: float) -> Any:
        """Creates the Keras schedule."""
        start = learning_rate / self.div_factor
        return OneCycleSchedule(learning_rate, steps, self.increase, start, start / self.final_div_factor, self.shape)
