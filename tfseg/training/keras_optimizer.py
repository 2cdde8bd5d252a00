"""Optimizers of Keras by class name."""

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
from tfseg.training.step import with_optimizer_step

Value = bool | int | float | str | None | tuple[Any, ...] | dict[str, Any]
EXCLUDED = {
    "gradient_accumulation_steps": "training.gradient_accumulation_steps sets it",
    "loss_scale_factor": "only sgd and adamw support loss scaling",
    "name": "optimizers have no name in a pipeline",
    "lr_multipliers": "only sgd and adamw support learning rate multipliers",
    "kwargs": "not an argument",
    "use_ema": "training.ema sets it",
    "ema_momentum": "training.ema sets it",
    "ema_overwrite_frequency": "averages do not replace the weights in training",
}
"""Arguments of Keras optimizers that a pipeline file must not set, with the reason."""
WRAPPERS = ("LossScaleOptimizer", "MultiOptimizer")
"""Keras optimizers that wrap other optimizers."""


@spec
class KerasOptimizer(OptimizerSpec):
    """Any optimizer of `keras.optimizers`, without learning rate multipliers and loss scaling."""

    type: Literal["keras"] = "keras"
    class_: Annotated[str, Field(alias="class")]
    """Class name, such as `Lion`."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Initial learning rate of the schedule."""
    arguments: dict[str, Value] = Field(default_factory=dict)
    """Other arguments of the constructor, such as `beta_1`. May also be given next to `class`."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        """Moves arguments given next to `class` into `arguments`."""
        given = data.kwargs if isinstance(data, ArgsKwargs) else data
        if not isinstance(given, dict) or not isinstance(given.get("arguments", {}), dict):
            return data
        own = {"type", "class", "class_", "learning_rate", "arguments"}
        beside = {key: value for key, value in given.items() if key not in own}
        rest = {key: value for key, value in given.items() if key in own}
        if twice := sorted(beside.keys() & given.get("arguments", {}).keys()):
            raise InvalidFields(
                ((twice[0],), "is given twice: next to class and under arguments. Remove one of the two")
            )
        return {**rest, "arguments": {**given.get("arguments", {}), **beside}} if beside else data

    @model_validator(mode="after")
    def _check(self) -> Self:
        classes = optimizers()
        if self.class_ not in classes:
            message = f"expected an optimizer of Keras ({listed(classes)}); received {received(self.class_)}"
            raise InvalidFields((("class",), message + nearest(self.class_, classes)))
        accepted = arguments(classes[self.class_])
        problems: list[FieldProblem] = [
            ((name,), problem) for name in self.arguments if (problem := self._problem(name, accepted))
        ]
        if problems := problems or _constructor_problems(self):
            raise InvalidFields(*problems)
        return self

    def _problem(self, name: str, accepted: Mapping[str, Any]) -> str | None:
        """Returns the problem with an argument, or None. `accepted` are the accepted arguments and their defaults."""
        value = self.arguments[name]
        if name in EXCLUDED:
            return f"{EXCLUDED[name]}. Received: {received(value)}. Remove it"
        if name not in accepted:
            near = nearest(name, accepted) or "."
            return f"not an argument of {self.class_}{near} Its arguments: {listed(accepted)}"
        default = accepted[name]
        if isinstance(default, bool) and not isinstance(value, bool):
            return f"expected true or false; received {received(value)}"
        if not isinstance(default, bool | str) and value is not None and type(value) not in (int, float):
            return f"expected a number; received {received(value)}"
        return None

    def __call__(self, schedule: Any, *, scaled: bool, accumulate: int = 1) -> keras.optimizers.Optimizer:
        """Creates the Keras optimizer.

        Args:
            schedule: Learning rate, a number or a schedule in optimizer steps.
            scaled: Must be False, since loss scaling is not supported.
            accumulate: Integer, number of batches per optimizer step. Their gradients are averaged.
        """
        accumulation = {"gradient_accumulation_steps": accumulate} if accumulate > 1 else {}
        kind = with_optimizer_step(optimizers()[self.class_])  # type: ignore[arg-type]  # a class is hashable
        return kind(per_optimizer_step(schedule, accumulate), **accumulation, **self.arguments)


def optimizers() -> dict[str, type[keras.optimizers.Optimizer]]:
    """Returns the optimizer classes of the installed Keras by name."""
    members = {name: getattr(keras.optimizers, name) for name in dir(keras.optimizers)}
    base = keras.optimizers.Optimizer
    return {
        name: each
        for name, each in members.items()
        if isinstance(each, type) and issubclass(each, base) and each is not base and name not in WRAPPERS
    }


def arguments(optimizer: type[keras.optimizers.Optimizer]) -> dict[str, Any]:
    """Returns the arguments that a pipeline file may set, with their defaults, from the constructor's signature."""
    parameters = list(inspect.signature(optimizer.__init__).parameters.items())[1:]
    return {name: each.default for name, each in parameters if name != "learning_rate" and name not in EXCLUDED}


def _constructor_problems(spec_: KerasOptimizer) -> list[FieldProblem]:
    """Returns the error of the constructor, if any."""
    try:
        spec_(spec_.learning_rate, scaled=False)
    except (TypeError, ValueError) as error:
        return [((), f"{spec_.class_} rejects these arguments: {first_line(error)}")]
    return []
