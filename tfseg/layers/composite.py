"""Base class of layers that contain other layers."""

from typing import Any, Self

import keras

from tfseg.keras_internals import layers_within


class Composite(keras.layers.Layer):
    """Base class of layers with inner layers. The config contains the `trainable` flags of the inner layers.

    Keras saves only the `trainable` flag of the outer layer. A frozen inner BatchNormalization would be trainable again
    after loading, and would update its moving statistics.
    """

    parts: dict[str, keras.layers.Layer]
    """Inner layers by name. Keras saves their weights under the name of this attribute, so do not rename it."""

    @property
    def sublayers(self) -> dict[str, keras.layers.Layer]:
        """Inner layers by name, in call order."""
        return getattr(self, "parts", None) or {layer.name: layer for layer in self._inner()}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "frozen": [layer.name for layer in self._inner() if not layer.trainable]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        config = dict(config)
        frozen = config.pop("frozen", None)
        layer = super().from_config(config)
        for inner in layer._inner() if frozen is not None else ():
            if inner.trainable == (inner.name in frozen):  # setting an equal value would reset layers inside `inner`
                inner.trainable = inner.name not in frozen
        return layer

    def _inner(self) -> list[keras.layers.Layer]:
        return list(layers_within(self, deep=False))
