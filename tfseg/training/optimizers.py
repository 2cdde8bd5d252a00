"""The optimizers a pipeline file can name."""

import re
from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import AfterValidator, Field

from tfseg.spec.declare import spec
from tfseg.training import lr_multipliers
from tfseg.training.contracts import OptimizerSpec
from tfseg.training.schedules import per_optimizer_step

FIRST_SCALE = 2.0**15
"""The loss scale that float16 starts with: Keras's."""


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error}). Received: {text}") from None
    return text


Expression = Annotated[str, AfterValidator(_expression)]
"""A regular expression that is searched for in the path of a variable, such as `conv1_1/kernel`."""
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Multipliers = dict[Expression, Annotated[float, Field(ge=0)]]


@spec
class Sgd(OptimizerSpec):
    """Stochastic gradient descent with momentum; weight decay is an L2 penalty, as in Caffe."""

    type: Literal["sgd"] = "sgd"
    scales: ClassVar[bool] = True  # type: ignore[misc]  # no field
    learning_rate: Rate = 0.01
    """The rate that the schedule starts from."""
    momentum: Share = 0.9
    """How much of the last step each step keeps."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """`weight_decay * weight` is added to the gradient."""
    no_weight_decay: tuple[Expression, ...] = lr_multipliers.NO_WEIGHT_DECAY
    """Variables that weight decay leaves out: those in whose path one of these expressions is found."""
    lr_multipliers: Multipliers = Field(default_factory=dict)
    """Factors of the learning rate by expressions that are searched for in a variable's path; several multiply."""

    def __call__(self, schedule: Any, *, scaled: bool, accumulate: int = 1) -> keras.optimizers.Optimizer:
        """The Keras optimizer.

        Args:
            schedule: its learning rate, a number or a schedule of updates.
            scaled: scale losses, for float16.
            accumulate: take the mean of the gradients of so many batches for one update.
        """
        return lr_multipliers.SGD(
            per_optimizer_step(schedule, accumulate),
            gradient_accumulation_steps=accumulate if accumulate > 1 else None,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            no_weight_decay=self.no_weight_decay,
            lr_multipliers=self.lr_multipliers,
            initial_scale=FIRST_SCALE if scaled else None,
            name=self.type,
        )


@spec
class AdamW(OptimizerSpec):
    """Adam with decoupled weight decay."""

    type: Literal["adamw"] = "adamw"
    scales: ClassVar[bool] = True  # type: ignore[misc]  # no field
    learning_rate: Rate = 1e-3
    """The rate that the schedule starts from."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """The share of a weight that is taken away at each step, times the learning rate."""
    no_weight_decay: tuple[Expression, ...] = lr_multipliers.NO_WEIGHT_DECAY
    """Variables that weight decay leaves out: those in whose path one of these expressions is found."""
    lr_multipliers: Multipliers = Field(default_factory=dict)
    """Factors of the learning rate by expressions that are searched for in a variable's path; several multiply."""

    def __call__(self, schedule: Any, *, scaled: bool, accumulate: int = 1) -> keras.optimizers.Optimizer:
        """The Keras optimizer.

        Args:
            schedule: its learning rate, a number or a schedule of updates.
            scaled: scale losses, for float16.
            accumulate: take the mean of the gradients of so many batches for one update.
        """
        return lr_multipliers.AdamW(
            per_optimizer_step(schedule, accumulate),
            gradient_accumulation_steps=accumulate if accumulate > 1 else None,
            weight_decay=self.weight_decay,
            no_weight_decay=self.no_weight_decay,
            lr_multipliers=self.lr_multipliers,
            initial_scale=FIRST_SCALE if scaled else None,
            name=self.type,
        )
