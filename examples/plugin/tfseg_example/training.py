"""Custom optimizer, learning rate schedule, loss and metric."""

from typing import Annotated, Any, Literal

import keras
from pydantic import Field

from tfseg.labels import Labels
from tfseg.metrics import SegmentationMetrics
from tfseg.metrics.counting import intersection_over_union
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
class Exponential:
    """Exponential decay of the learning rate from its initial value to a hundredth of it."""

    type: Literal["exponential"] = "exponential"

    def __call__(self, learning_rate: float, *, steps: int, steps_per_epoch: float) -> Any:
        return keras.optimizers.schedules.ExponentialDecay(learning_rate, steps, 0.01)


@spec
class Poly:
    """Poly-1 loss (Leng et al. 2022, equation 6), averaged over labeled pixels."""

    type: Literal["poly1"] = "poly1"
    epsilon: Annotated[float, Field(ge=-1)] = 1.0
    """Weight of the difference of the probability of the label from 1."""

    def __call__(
        self, labels: Labels, counts: Any = None, *, resolution: Any = None, positions: Any = None
    ) -> keras.losses.Loss:
        return PolyLoss(self.epsilon, labels.ignore)


@keras.saving.register_keras_serializable(package="tfseg_example")
class PolyLoss(keras.losses.Loss):
    """Computes the Poly-1 loss `-log p + epsilon (1 - p)`, averaged over the labeled pixels of each image.

    Args:
        epsilon: Float, weight of the second term.
        ignore: Integer, ignore label.
    """

    def __init__(self, epsilon: float, ignore: int, name: str = "poly1") -> None:
        super().__init__(name)
        self.epsilon, self.ignore = epsilon, ignore

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels = keras.ops.cast(y_true, "int32")
        labeled = keras.ops.cast(labels != self.ignore, y_pred.dtype)
        chosen = keras.ops.where(labels == self.ignore, 0, labels)
        entropy = keras.ops.sparse_categorical_crossentropy(chosen, y_pred, from_logits=True)
        losses = (entropy + self.epsilon * (1 - keras.ops.exp(-entropy))) * labeled
        return keras.ops.sum(losses, (1, 2)) / keras.ops.maximum(keras.ops.sum(labeled, (1, 2)), 1)

    def get_config(self) -> dict[str, Any]:
        return {"epsilon": self.epsilon, "ignore": self.ignore, "name": self.name}


@spec
class WorstIoU:
    """IoU of the class with the lowest one."""

    type: Literal["worst_iou"] = "worst_iou"

    def __call__(self, labels: Labels) -> keras.metrics.Metric:
        return WorstClassIoU(labels.count, labels.ignore)


@keras.saving.register_keras_serializable(package="tfseg_example")
class WorstClassIoU(SegmentationMetrics):
    """Computes the lowest IoU of a class, over all pixels."""

    def result(self) -> dict[str, Any]:
        _, _, _, iou = intersection_over_union(keras.ops.cast(self.confusion, "float32"))
        return {"worst_iou": keras.ops.min(iou)}
