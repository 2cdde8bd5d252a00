"""Optimizers of pipeline files."""

import re
from typing import Annotated, Any, ClassVar, Literal, Self

import keras
from pydantic import AfterValidator, Field, model_validator

from tfseg.spec.declare import spec
from tfseg.spec.problems import InvalidFields
from tfseg.training import lr_multipliers
from tfseg.training.contracts import OptimizerSpec
from tfseg.training.schedules import per_optimizer_step

INITIAL_SCALE = 2.0**15
"""Initial loss scale for float16, as in Keras."""


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error}). Received: {text}") from None
    return text


Expression = Annotated[str, AfterValidator(_expression)]
"""Regular expression, searched for in variable paths such as `conv1_1/kernel`."""
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Multipliers = dict[Expression, Annotated[float, Field(ge=0)]]
Limit = Annotated[float, Field(gt=0)] | None
CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")
"""Arguments of Keras optimizers that limit gradients, of which one at most may be given."""


def _check_clipping(optimizer: "Sgd | AdamW") -> None:
    """Raises `InvalidFields` if gradients are to be clipped in more than one way."""
    given = [name for name in CLIPPING if getattr(optimizer, name) is not None]
    if len(given) > 1:
        received = ", ".join(f"{name}={getattr(optimizer, name)}" for name in given)
        expected = f"expected at most one of {', '.join(CLIPPING)}"
        raise InvalidFields(((given[1],), f"{expected}. Received: {received}. Remove all but one"))


def _clipping(optimizer: "Sgd | AdamW") -> dict[str, Any]:
    """Returns the arguments of the Keras optimizer for clipping."""
    return {name: getattr(optimizer, name) for name in CLIPPING}


@spec
class Sgd(OptimizerSpec):
    """Stochastic gradient descent with momentum, and weight decay as an L2 penalty, as in Caffe."""

    type: Literal["sgd"] = "sgd"
    scales: ClassVar[bool] = True  # type: ignore[misc]  # not a field
    learning_rate: Rate = 0.01
    """Initial learning rate of the schedule."""
    momentum: Share = 0.9
    """Momentum: factor of the previous velocity in each step. 0 is plain gradient descent."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """Weight decay. `weight_decay * weight` is added to the gradient."""
    no_weight_decay: tuple[Expression, ...] = lr_multipliers.NO_WEIGHT_DECAY
    """Regular expressions. Variables with a match in their path have no weight decay."""
    lr_multipliers: Multipliers = Field(default_factory=dict)
    """Learning rate multipliers by regular expression, searched for in variable paths. Matching ones are multiplied."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Layer-wise learning rate decay: factor of the learning rate of the deepest stage of the backbone, and from each
    stage to the one before it. Multiplied by `lr_multipliers`. 1: none."""
    clipnorm: Limit = None
    """Largest L2 norm of the gradient of each variable; larger gradients are scaled down. null: no clipping."""
    clipvalue: Limit = None
    """Largest absolute value of the entries of gradients; larger ones are clipped. null: no clipping."""
    global_clipnorm: Limit = None
    """Largest L2 norm of the gradients of all variables together; larger ones are scaled down. null: no clipping."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_clipping(self)
        return self

    def __call__(self, schedule: Any, *, scaled: bool, accumulate: int = 1) -> keras.optimizers.Optimizer:
        """Creates the Keras optimizer.

        Args:
            schedule: Learning rate, a number or a schedule in optimizer steps.
            scaled: Boolean, whether to use loss scaling, for float16.
            accumulate: Integer, number of batches per optimizer step. Their gradients are averaged.
        """
        return lr_multipliers.SGD(
            per_optimizer_step(schedule, accumulate),
            gradient_accumulation_steps=accumulate if accumulate > 1 else None,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            no_weight_decay=self.no_weight_decay,
            lr_multipliers=self.lr_multipliers,
            initial_scale=INITIAL_SCALE if scaled else None,
            name=self.type,
            **_clipping(self),
        )


@spec
class AdamW(OptimizerSpec):
    """Adam with decoupled weight decay."""

    type: Literal["adamw"] = "adamw"
    scales: ClassVar[bool] = True  # type: ignore[misc]  # not a field
    learning_rate: Rate = 1e-3
    """Initial learning rate of the schedule."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Weight decay. Each step subtracts `learning_rate * weight_decay * weight`."""
    no_weight_decay: tuple[Expression, ...] = lr_multipliers.NO_WEIGHT_DECAY
    """Regular expressions. Variables with a match in their path have no weight decay."""
    lr_multipliers: Multipliers = Field(default_factory=dict)
    """Learning rate multipliers by regular expression, searched for in variable paths. Matching ones are multiplied."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Layer-wise learning rate decay: factor of the learning rate of the deepest stage of the backbone, and from each
    stage to the one before it. Multiplied by `lr_multipliers`. 1: none."""
    clipnorm: Limit = None
    """Largest L2 norm of the gradient of each variable; larger gradients are scaled down. null: no clipping."""
    clipvalue: Limit = None
    """Largest absolute value of the entries of gradients; larger ones are clipped. null: no clipping."""
    global_clipnorm: Limit = None
    """Largest L2 norm of the gradients of all variables together; larger ones are scaled down. null: no clipping."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_clipping(self)
        return self

    def __call__(self, schedule: Any, *, scaled: bool, accumulate: int = 1) -> keras.optimizers.Optimizer:
        """Creates the Keras optimizer.

        Args:
            schedule: Learning rate, a number or a schedule in optimizer steps.
            scaled: Boolean, whether to use loss scaling, for float16.
            accumulate: Integer, number of batches per optimizer step. Their gradients are averaged.
        """
        return lr_multipliers.AdamW(
            per_optimizer_step(schedule, accumulate),
            gradient_accumulation_steps=accumulate if accumulate > 1 else None,
            weight_decay=self.weight_decay,
            no_weight_decay=self.no_weight_decay,
            lr_multipliers=self.lr_multipliers,
            initial_scale=INITIAL_SCALE if scaled else None,
            name=self.type,
            **_clipping(self),
        )
