"""Freezing of layers, and the mode of batch normalization."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import keras

from tfseg.keras_internals import layers_within

BatchNorm = Literal["train", "frozen"]


def prepare(model: keras.Model, *, batch_norm: BatchNorm, freeze: Sequence[str], synchronized: bool) -> None:
    """Freezes layers and configures batch normalization. Must be called before `compile`.

    Args:
        model: The network, modified in place.
        batch_norm: `"frozen"`: batch normalization is not trainable and uses its moving statistics.
        freeze: Regular expressions. Layers whose names contain a match are not trainable.
        synchronized: Boolean, whether batch statistics are computed over all replicas.
    """
    for layer in flat_layers(model):
        is_batch_norm = isinstance(layer, keras.layers.BatchNormalization)
        if is_batch_norm:
            layer.synchronized = synchronized
        if (is_batch_norm and batch_norm == "frozen") or any(re.search(pattern, layer.name) for pattern in freeze):
            layer.trainable = False


def flat_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields all layers except models, including layers nested in other layers and models."""
    for layer in layers_within(model):
        if not isinstance(layer, keras.Model):
            yield layer


@contextmanager
def unsynchronized(model: keras.Model) -> Iterator[None]:
    """Context in which batch normalization is not synchronized, so that saved networks load with any backend."""
    changed = [layer for layer in flat_layers(model) if getattr(layer, "synchronized", False)]
    for layer in changed:
        layer.synchronized = False
    try:
        yield
    finally:
        for layer in changed:
            layer.synchronized = True
