"""Interval between two saved states of a training."""

from typing import Annotated

from pydantic import Field, model_validator

from tfseg.spec.declare import spec
from tfseg.spec.problems import InvalidFields


@spec
class Checkpoint:
    """Interval between two saved states of a training within an epoch. The state is also saved after every epoch."""

    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Minutes between two saved states. With `steps`, whichever comes first."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Number of optimizer steps between two saved states."""

    @model_validator(mode="after")
    def _check(self) -> "Checkpoint":
        if self.minutes is None and self.steps is None:
            message = "expected minutes, steps or both; received neither. null saves the state after every epoch only"
            raise InvalidFields(((), message))
        return self


EVERY_TEN_MINUTES = Checkpoint(minutes=10)
