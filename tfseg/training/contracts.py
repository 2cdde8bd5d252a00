"""Interfaces of losses, metrics, optimizers and schedules in a pipeline file."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import keras

from tfseg.context import Context
from tfseg.errors import RunError, TfsegError, reason
from tfseg.labels import Labels
from tfseg.losses.annotated import Annotated as Classes
from tfseg.losses.class_weights import Counts
from tfseg.losses.resolution import Positions, Resolution
from tfseg.spec.problems import FieldProblem

RATES = (int, float, keras.optimizers.schedules.LearningRateSchedule)
"""Types of a learning rate."""


def construct(slot: str, kind: type | tuple[type, ...], spec: Any, *arguments: Any, **options: Any) -> Any:
    """Calls a spec and checks the type of the result. Custom specs may fail or return something else.

    Args:
        slot: Key of the spec in the section `training`.
        kind: Expected type, or a tuple of types.
        spec: Callable with a `type`.
        *arguments: Positional arguments of the call.
        **options: Keyword arguments of the call.

    Raises:
        RunError: If the spec fails or returns something else.
    """
    try:
        result = spec(*arguments, **options)
    except TfsegError:  # already a message for the user, for example of a mask that cannot be read
        raise
    except Exception as error:
        message = f"training.{slot}: {spec.type} failed ({reason(error)}). Correct it, or use another one"
        raise RunError(message) from error
    if not isinstance(result, kind):
        expected = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
        raise RunError(f"training.{slot}: {spec.type} must return {expected}. Received: {result!r}")
    return result


class Objective:
    """Training loss. A custom one needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)
    channels: ClassVar[int | None] = None
    """Number of channels of the outputs that the loss takes. None: one per class."""
    resolution: Resolution = "image"
    """Resolution at which the loss is computed."""

    def __call__(
        self,
        labels: Labels,
        counts: Counts | None = None,
        *,
        resolution: Resolution | None = None,
        positions: Positions | None = None,
        annotated: Classes | None = None,
    ) -> keras.losses.Loss:
        """Creates the Keras loss, of integer masks `[batch, height, width]` and float32 logits.

        Args:
            labels: Class names and ignore label.
            counts: Function that counts the pixels per class in the training split. Only called by losses with class
                weights computed from class frequencies.
            resolution: Resolution at which to compare an output with labels of another size. None if sizes are equal.
            positions: Positions of such an output in the image. None: corner-aligned.
            annotated: Boolean per source and class, for a mixed dataset whose sources annotate different classes; masks
                then contain the source of each pixel. None, and not passed to custom losses, for other data.
        """
        raise NotImplementedError

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields problems with settings that do not fit the classes, as pairs `(path, message)`."""
        yield from ()


class MetricSpec:
    """Additional metric. A custom one needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)

    def __call__(self, labels: Labels) -> keras.metrics.Metric:
        """Creates the Keras metric, of integer masks `[batch, height, width]` and float32 logits.

        Args:
            labels: Class names and ignore label.
        """
        raise NotImplementedError


class OptimizerSpec:
    """Optimizer. A custom one needs `type`, `learning_rate` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__", "learning_rate")
    scales: bool = False
    """Boolean, whether the optimizer supports loss scaling, which float16 requires."""
    lr_multipliers: Mapping[str, float] = MappingProxyType({})
    """Learning rate multipliers by regular expression, searched for in variable paths."""

    layer_decay: float = 1.0
    """Factor of the learning rate from each stage of the backbone to the one before it."""

    learning_rate: float
    """Initial learning rate of the schedule."""

    def __call__(self, schedule: Any, *, scaled: bool, accumulate: int = 1) -> keras.optimizers.Optimizer:
        """Creates the Keras optimizer.

        Args:
            schedule: Learning rate, a number or a schedule in optimizer steps.
            scaled: Boolean, whether to use loss scaling, for float16.
            accumulate: Integer, number of batches per optimizer step. Their gradients are averaged.
        """
        raise NotImplementedError


class ScheduleSpec:
    """Learning rate schedule. A custom one needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)

    def __call__(self, learning_rate: float, *, steps: int, steps_per_epoch: float) -> Any:
        """Creates the learning rate, a number or a Keras schedule.

        Args:
            learning_rate: Initial learning rate.
            steps: Number of optimizer steps of the training.
            steps_per_epoch: Number of optimizer steps per epoch.
        """
        raise NotImplementedError
