"""Any optimizer of Keras, by the name of its class."""

import inspect
from typing import Annotated, Any, Literal, Self

import keras
from pydantic import Field, model_validator
from pydantic_core import ArgsKwargs

from tfseg.errors import first_line
from tfseg.spec.declare import spec
from tfseg.spec.problems import Fault, Misfit
from tfseg.spec.wording import listed, nearest, received
from tfseg.training.contracts import OptimizerSpec
from tfseg.training.schedules import per_update

Value = bool | int | float | str | None
OURS = {
    "gradient_accumulation_steps": "training.accumulate sets it",
    "loss_scale_factor": "tfseg's own optimizers scale losses",
    "name": "an optimizer has none here",
    "multipliers": "tfseg's own optimizers have parts, sgd and adamw",
    "kwargs": "it is no argument",
}
"""What Keras's classes take and a file does not say."""
WRAPPERS = ("LossScaleOptimizer", "MultiOptimizer")
"""Of Keras's optimizers, those that wrap others."""


@spec
class KerasOptimizer(OptimizerSpec):
    """An optimizer of `keras.optimizers`. Its learning rate is one for all variables; losses are not scaled."""

    type: Literal["keras"] = "keras"
    class_: Annotated[str, Field(alias="class")]
    """The name of the class, such as `Lion`."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """The rate that the schedule starts from."""
    arguments: dict[str, Value] = Field(default_factory=dict)
    """What else its constructor takes, such as `beta_1`; may also stand beside `class`."""

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, data: Any) -> Any:
        """Arguments that stand beside `class`, among `arguments`."""
        given = data.kwargs if isinstance(data, ArgsKwargs) else data
        if not isinstance(given, dict) or not isinstance(given.get("arguments", {}), dict):
            return data
        own = {"type", "class", "class_", "learning_rate", "arguments"}
        beside = {key: value for key, value in given.items() if key not in own}
        rest = {key: value for key, value in given.items() if key in own}
        return {**rest, "arguments": {**given.get("arguments", {}), **beside}} if beside else data

    @model_validator(mode="after")
    def _possible(self) -> Self:
        classes = optimizers()
        if self.class_ not in classes:
            told = f"expected an optimizer of Keras ({listed(classes)}); received {received(self.class_)}"
            raise Misfit((("class",), told + nearest(self.class_, classes)))
        taken = arguments(classes[self.class_])
        faults: list[Fault] = []
        for name in self.arguments:
            if name in OURS:
                faults.append(((name,), f"{OURS[name]}. Received: {received(self.arguments[name])}. Leave it out"))
            elif name not in taken:
                near = nearest(name, taken) or "."
                faults.append(((name,), f"{self.class_} takes no such argument{near} Its arguments: {listed(taken)}"))
        if not faults:
            faults = _refused(self)
        if faults:
            raise Misfit(*faults)
        return self

    def __call__(self, schedule: Any, *, scaled: bool, accumulate: int = 1) -> keras.optimizers.Optimizer:
        """The Keras optimizer.

        Args:
            schedule: its learning rate, a number or a schedule of updates.
            scaled: must be false: it does not scale losses.
            accumulate: take the mean of the gradients of so many batches for one update.
        """
        several = {"gradient_accumulation_steps": accumulate} if accumulate > 1 else {}
        return optimizers()[self.class_](per_update(schedule, accumulate), **several, **self.arguments)


def optimizers() -> dict[str, type[keras.optimizers.Optimizer]]:
    """The optimizers of this Keras, by name."""
    found = {name: getattr(keras.optimizers, name) for name in dir(keras.optimizers)}
    base = keras.optimizers.Optimizer
    return {
        name: each
        for name, each in found.items()
        if isinstance(each, type) and issubclass(each, base) and each is not base and name not in WRAPPERS
    }


def arguments(optimizer: type[keras.optimizers.Optimizer]) -> list[str]:
    """What a file may say to an optimizer, from the signature of its constructor."""
    names = list(inspect.signature(optimizer.__init__).parameters)[1:]
    return [name for name in names if name != "learning_rate" and name not in OURS]


def _refused(spec_: KerasOptimizer) -> list[Fault]:
    """What the constructor itself says of the arguments."""
    try:
        spec_(spec_.learning_rate, scaled=False)
    except (TypeError, ValueError) as error:
        return [(("arguments",), f"{spec_.class_} refuses them: {first_line(error)}")]
    return []
