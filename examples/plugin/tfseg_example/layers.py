"""Custom layer for networks of `type: graph`."""

from typing import Any

import keras

from tfseg.typing import Tensor


@keras.saving.register_keras_serializable(package="tfseg_example")
class Softcap(keras.layers.Layer):
    """Limits values smoothly: `limit tanh(x / limit)`.

    Args:
        limit: Float, limit of the absolute value.
    """

    def __init__(self, limit: float = 5.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def call(self, x: Tensor) -> Tensor:
        return self.limit * keras.ops.tanh(x / self.limit)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "limit": self.limit}
