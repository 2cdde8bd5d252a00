"""What a training asks of the specs in its slots."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import keras

from tfseg.context import Context
from tfseg.errors import RunError, TfsegError, reason
from tfseg.labels import Labels
from tfseg.losses.class_weights import Counts
from tfseg.losses.resolution import Positions, Resolution
from tfseg.spec.problems import FieldProblem

RATES = (int, float, keras.optimizers.schedules.LearningRateSchedule)
"""What a learning rate may be."""


def construct(slot: str, kind: type | tuple[type, ...], spec: Any, *arguments: Any, **options: Any) -> Any:
    """What a spec makes; one of a user's own may fail, or make something else.

    Raises:
        RunError: it does.
    """
    try:
        found = spec(*arguments, **options)
    except TfsegError:  # it has its own words: counting classes, a loss may meet a mask that cannot be read
        raise
    except Exception as error:
        message = f"training.{slot}: {spec.type} fails ({reason(error)}). Correct it, or take another one"
        raise RunError(message) from error
    if not isinstance(found, kind):
        expected = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
        raise RunError(f"training.{slot}: {spec.type} must make a {expected}. Received: {found!r}")
    return found


class Objective:
    """What is made small. One of your own needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)
    resolution: Resolution = "image"
    """Where it is computed."""

    def __call__(
        self,
        labels: Labels,
        counts: Counts | None = None,
        *,
        resolution: Resolution | None = None,
        positions: Positions | None = None,
    ) -> keras.losses.Loss:
        """The Keras loss of integer masks `[batch, height, width]` and float32 logits.

        Args:
            labels: the classes.
            counts: counts the classes of the training split, for a loss that weighs them; others do not call it.
            resolution: what to do with an output that is not of the labels' size; None: it is.
            positions: where such an output lies in the image; None: from corner to corner.
        """
        raise NotImplementedError

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What does not fit the classes, each as (path, message)."""
        yield from ()


class OptimizerSpec:
    """From gradients to changes of the weights. One of your own needs `type`, `learning_rate` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__", "learning_rate")
    scales: bool = False
    """Whether it scales losses, which float16 needs."""
    lr_multipliers: Mapping[str, float] = MappingProxyType({})
    """Factors of the learning rate by expressions that are searched for in a variable's path."""

    learning_rate: float
    """The rate that the schedule starts from."""

    def __call__(self, schedule: Any, *, scaled: bool, accumulate: int = 1) -> keras.optimizers.Optimizer:
        """The Keras optimizer.

        Args:
            schedule: its learning rate, a number or a schedule of updates.
            scaled: scale losses, for float16.
            accumulate: take the mean of the gradients of so many batches for one update.
        """
        raise NotImplementedError


class ScheduleSpec:
    """How the learning rate goes from the first step to the last. One of your own needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)

    def __call__(self, learning_rate: float, *, steps: int, steps_per_epoch: float) -> Any:
        """A number, or a Keras schedule that starts from `learning_rate`."""
        raise NotImplementedError
