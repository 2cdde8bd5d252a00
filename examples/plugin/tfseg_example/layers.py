"""A layer of a network that is written down layer by layer."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="tfseg_example")
class Softcap(keras.layers.Layer):
    """Keeps values within a limit, smoothly: `limit tanh(x / limit)`."""

    def __init__(self, limit: float = 5.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def call(self, x: Any) -> Any:
        return self.limit * keras.ops.tanh(x / self.limit)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "limit": self.limit}
