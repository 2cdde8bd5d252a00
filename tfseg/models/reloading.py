"""Whether a network of a user's own layers could be loaded again, asked before it is trained."""

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
    """What would be missing or other in a network that is saved and loaded, each as (path, message)."""
    try:
        again = symbolically(lambda: keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model)))
    except Exception as error:  # noqa: BLE001 - the code of a user's own
        message = "the network could not be loaded again once it is saved"
        yield (
            (),
            f"{message} ({reason(error)}). Register its layers, and give them get_config",
        )
        return
    others = {layer.name: layer for layer in layers_within(again)}
    for layer in layers_within(model):
        if not type(layer).__module__.startswith(KNOWN) and (lost := _lost(layer, others.get(layer.name))):
            yield (), f"{lost} of layer {layer.name!r} is another once it is saved and loaded; return it by get_config"


def _lost(layer: keras.Layer, again: keras.Layer | None) -> str:
    """The names of the plain values that a loaded layer has not."""
    kept = {} if again is None else _values(again)
    return ", ".join(name for name, value in _values(layer).items() if kept.get(name, value) != value)


def _values(layer: keras.Layer) -> dict[str, Any]:
    return {name: each for name, each in vars(layer).items() if not name.startswith("_") and isinstance(each, PLAIN)}
