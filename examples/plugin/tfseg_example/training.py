"""Custom optimizer, learning rate schedule and loss."""

from typing import Annotated, Any, Literal

import keras
from pydantic import Field

from tfseg.labels import Labels
from tfseg.spec import spec
from tfseg.typing import Tensor


@spec
class Lion:
    """Lion optimizer (`keras.optimizers.Lion`)."""

    type: Literal["lion"] = "lion"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Initial learning rate of the schedule."""

    def __call__(self, schedule: Any, *, scaled: bool, accumulate: int = 1) -> keras.optimizers.Optimizer:
        return keras.optimizers.Lion(schedule, gradient_accumulation_steps=accumulate if accumulate > 1 else None)


@spec
class Cosine:
    """Cosine decay of the learning rate from its initial value to zero."""

    type: Literal["cosine"] = "cosine"

    def __call__(self, learning_rate: float, *, steps: int, steps_per_epoch: float) -> Any:
        return keras.optimizers.schedules.CosineDecay(learning_rate, steps)


@spec
class Focal:
    """Focal loss (Lin et al. 2017, equation 4), averaged over labeled pixels."""

    type: Literal["focal"] = "focal"
    gamma: Annotated[float, Field(ge=0)] = 2.0
    """Focusing parameter, which reduces the loss of well-classified pixels."""

    def __call__(self, labels: Labels, counts: Any = None, **how: Any) -> keras.losses.Loss:
        return FocalLoss(self.gamma, labels.ignore)


@keras.saving.register_keras_serializable(package="tfseg_example")
class FocalLoss(keras.losses.Loss):
    """Computes the focal loss `-(1 - p)^gamma log p`, averaged over the labeled pixels of each image.

    Args:
        gamma: Float, focusing parameter.
        ignore: Integer, ignore label.
    """

    def __init__(self, gamma: float, ignore: int, name: str = "focal") -> None:
        super().__init__(name)
        self.gamma, self.ignore = gamma, ignore

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels = keras.ops.cast(y_true, "int32")
        labeled = keras.ops.cast(labels != self.ignore, y_pred.dtype)
        chosen = keras.ops.where(labels == self.ignore, 0, labels)
        logs = -keras.ops.sparse_categorical_crossentropy(chosen, y_pred, from_logits=True)
        losses = -((1 - keras.ops.exp(logs)) ** self.gamma) * logs * labeled
        return keras.ops.sum(losses, (1, 2)) / keras.ops.maximum(keras.ops.sum(labeled, (1, 2)), 1)

    def get_config(self) -> dict[str, Any]:
        return {"gamma": self.gamma, "ignore": self.ignore, "name": self.name}
