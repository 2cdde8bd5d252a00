"""Check that a network with custom layers can be reloaded, before it is trained."""

from collections.abc import Iterator
from typing import Any

import keras

from tfseg.errors import reason
from tfseg.keras_internals import layers_within
from tfseg.spec.problems import FieldProblem
from tfseg.symbolic import symbolically

PLAIN = (bool, int, float, str, tuple)
KNOWN = ("keras.", "tfseg.")


def reloading_problems(model: keras.Model) -> Iterator[FieldProblem]:
    """Yields the parts of the network that saving and loading would lose or change, as pairs `(path, message)`."""
    try:
        reloaded = symbolically(
            lambda: keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
        )
    except Exception as error:  # noqa: BLE001 - custom code can raise anything
        message = "the network cannot be reloaded after saving"
        yield (
            (),
            f"{message} ({reason(error)}). Register its layers, and implement their get_config",
        )
        return
    others = {layer.name: layer for layer in layers_within(reloaded)}
    for layer in layers_within(model):
        if not type(layer).__module__.startswith(KNOWN) and (lost := _lost(layer, others.get(layer.name))):
            message = f"saving and reloading loses attributes of layer {layer.name!r}: {lost}"
            yield (), f"{message}. Return them from its get_config"


def _lost(layer: keras.Layer, reloaded: keras.Layer | None) -> str:
    """Returns the names of the plain attributes that have another value in the reloaded layer."""
    kept = {} if reloaded is None else _values(reloaded)
    return ", ".join(name for name, value in _values(layer).items() if kept.get(name, value) != value)


def _values(layer: keras.Layer) -> dict[str, Any]:
    return {name: each for name, each in vars(layer).items() if not name.startswith("_") and isinstance(each, PLAIN)}
