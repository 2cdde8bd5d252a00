"""Weighted sum of losses."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class WeightedSum(keras.losses.Loss):
    """Computes the weighted sum of several losses of the same label map and logits.

    Example:

    >>> import numpy as np
    >>> from tfseg.losses import CrossEntropy, Dice
    >>> labels, logits = np.array([[[0, 0, 0, 1]]]), np.log([[[[0.8, 0.2]] * 4]])
    >>> loss = WeightedSum([CrossEntropy(), Dice()], [1, 0.5])
    >>> round(float(loss(labels, logits)), 4)  # 0.5697 + 0.5018 / 2
    0.8206

    Args:
        losses: List of Keras losses.
        weights: One weight per loss, or None to add all with weight 1.
        name: Name of the loss.

    Call arguments:
        y_true: Label map, as the losses expect it.
        y_pred: Logits, as the losses expect them.
        sample_weight: Weights that each loss receives.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`.

    Output shape:
        A scalar. On a replica, its share of the loss: the shares add up to the loss of the global batch.

    Raises:
        ValueError: If there is no loss, if the number of weights is not that of the losses, or if a weight is negative.
    """

    def __init__(
        self, losses: Sequence[keras.losses.Loss], weights: Sequence[float] | None = None, name: str = "sum"
    ) -> None:
        weights = [1.0] * len(losses) if weights is None else [float(weight) for weight in weights]
        kinds = all(isinstance(loss, keras.losses.Loss) for loss in losses)
        if not kinds or not losses or len(weights) != len(losses) or not all(0 <= each < math.inf for each in weights):
            raise ValueError(
                "`losses` must be a nonempty list of keras.losses.Loss, and `weights` one number >= 0 per loss. "
                f"Received: losses={losses!r}, weights={weights}"
            )
        super().__init__(name=name, reduction="mean", dtype="float32")
        self.losses, self.weights = tuple(losses), tuple(weights)

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Computes the sum without the reduction of Keras."""
        with keras.name_scope(self.name):
            terms = (loss(y_true, y_pred, sample_weight) for loss in self.losses)
            return sum(weight * term for weight, term in zip(self.weights, terms, strict=True))

    def get_config(self) -> dict[str, Any]:
        losses = [keras.saving.serialize_keras_object(loss) for loss in self.losses]
        return {"losses": losses, "weights": list(self.weights), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WeightedSum":
        """Creates the loss from its config."""
        losses = [keras.saving.deserialize_keras_object(loss) for loss in config["losses"]]
        return cls(**{**config, "losses": losses})
