"""Which layers of a network learn, and how its batch normalization behaves."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import keras

from tfseg.keras_internals import layers_within

BatchNorm = Literal["train", "frozen"]


def prepare(model: keras.Model, *, batch_norm: BatchNorm, freeze: Sequence[str], synchronized: bool) -> None:
    """Sets what learns. It must happen before `compile`.

    Args:
        model: the network; its layers are changed in place.
        batch_norm: `"frozen"`: batch normalization uses its moving statistics and learns nothing.
        freeze: regular expressions; a layer in whose name one is found learns nothing.
        synchronized: batch statistics are those of all replicas together.
    """
    for layer in flat_layers(model):
        normalizes = isinstance(layer, keras.layers.BatchNormalization)
        if normalizes:
            layer.synchronized = synchronized
        if (normalizes and batch_norm == "frozen") or any(re.search(pattern, layer.name) for pattern in freeze):
            layer.trainable = False


def flat_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers that compute, those within other layers and within nested models too."""
    for layer in layers_within(model):
        if not isinstance(layer, keras.Model):
            yield layer


@contextmanager
def unsynchronized(model: keras.Model) -> Iterator[None]:
    """Inside, batch normalization says that it is not synchronized: a saved network shall load with any backend."""
    changed = [layer for layer in flat_layers(model) if getattr(layer, "synchronized", False)]
    for layer in changed:
        layer.synchronized = False
    try:
        yield
    finally:
        for layer in changed:
            layer.synchronized = True
