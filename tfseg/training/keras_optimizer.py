"""Any optimizer of Keras, by the name of its class."""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import keras
from pydantic import Field, model_validator
from pydantic_core import ArgsKwargs

from tfseg.errors import first_line
from tfseg.spec.declare import spec
from tfseg.spec.messages import listed, nearest, received
from tfseg.spec.problems import FieldProblem, InvalidFields
from tfseg.training.contracts import OptimizerSpec
from tfseg.training.schedules import per_optimizer_step

Value = bool | int | float | str | None | tuple[Any, ...] | dict[str, Any]
OURS = {
    "gradient_accumulation_steps": "training.gradient_accumulation_steps sets it",
    "loss_scale_factor": "tfseg's own optimizers scale losses",
    "name": "an optimizer has none here",
    "lr_multipliers": "tfseg's own optimizers have parts, sgd and adamw",
    "kwargs": "it is no argument",
    "use_ema": "the averages would not be in what a run saves",
    "ema_momentum": "the averages would not be in what a run saves",
    "ema_overwrite_frequency": "the averages would not be in what a run saves",
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
        if twice := sorted(beside.keys() & given.get("arguments", {}).keys()):
            raise InvalidFields(
                ((twice[0],), "is given twice: beside class and under arguments. Leave out one of the two")
            )
        return {**rest, "arguments": {**given.get("arguments", {}), **beside}} if beside else data

    @model_validator(mode="after")
    def _possible(self) -> Self:
        classes = optimizers()
        if self.class_ not in classes:
            message = f"expected an optimizer of Keras ({listed(classes)}); received {received(self.class_)}"
            raise InvalidFields((("class",), message + nearest(self.class_, classes)))
        taken = arguments(classes[self.class_])
        faults: list[FieldProblem] = [((name,), told) for name in self.arguments if (told := self._fault(name, taken))]
        if faults := faults or _refused(self):
            raise InvalidFields(*faults)
        return self

    def _fault(self, name: str, taken: Mapping[str, Any]) -> str | None:
        """Why that argument cannot be given, or None. `taken` are those that there are, and their defaults."""
        value = self.arguments[name]
        if name in OURS:
            return f"{OURS[name]}. Received: {received(value)}. Leave it out"
        if name not in taken:
            near = nearest(name, taken) or "."
            return f"{self.class_} takes no such argument{near} Its arguments: {listed(taken)}"
        default = taken[name]
        if isinstance(default, bool) and not isinstance(value, bool):
            return f"expected true or false; received {received(value)}"
        if not isinstance(default, bool | str) and value is not None and type(value) not in (int, float):
            return f"expected a number; received {received(value)}"
        return None

    def __call__(self, schedule: Any, *, scaled: bool, accumulate: int = 1) -> keras.optimizers.Optimizer:
        """The Keras optimizer.

        Args:
            schedule: its learning rate, a number or a schedule of updates.
            scaled: must be false: it does not scale losses.
            accumulate: take the mean of the gradients of so many batches for one update.
        """
        several = {"gradient_accumulation_steps": accumulate} if accumulate > 1 else {}
        return optimizers()[self.class_](per_optimizer_step(schedule, accumulate), **several, **self.arguments)


def optimizers() -> dict[str, type[keras.optimizers.Optimizer]]:
    """The optimizers of this Keras, by name."""
    found = {name: getattr(keras.optimizers, name) for name in dir(keras.optimizers)}
    base = keras.optimizers.Optimizer
    return {
        name: each
        for name, each in found.items()
        if isinstance(each, type) and issubclass(each, base) and each is not base and name not in WRAPPERS
    }


def arguments(optimizer: type[keras.optimizers.Optimizer]) -> dict[str, Any]:
    """What a file may say to an optimizer and what it says itself, from the signature of its constructor."""
    own = list(inspect.signature(optimizer.__init__).parameters.items())[1:]
    return {name: each.default for name, each in own if name != "learning_rate" and name not in OURS}


def _refused(spec_: KerasOptimizer) -> list[FieldProblem]:
    """What the constructor itself says of the arguments."""
    try:
        spec_(spec_.learning_rate, scaled=False)
    except (TypeError, ValueError) as error:
        return [((), f"{spec_.class_} refuses these arguments: {first_line(error)}")]
    return []
