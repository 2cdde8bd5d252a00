"""Batch normalization statistics, re-estimated with the final weights."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from tfseg.errors import RunError
from tfseg.training.freezing import flat_layers


def estimate_batch_norm(model: keras.Model, batches: Iterable[Any]) -> int:
    """Sets the moving statistics of trainable batch normalization layers to the average batch statistics of `batches`.

    Moving averages include statistics of earlier weights; the new statistics are computed with the final weights. The
    network is called in training mode. The moving mean becomes the average of the batch means, and the moving variance
    the average of `m / (m - 1) * variance`, with the `variance` of the `m` values of a channel in a batch.

    Args:
        model: Network from images to logits. Frozen batch normalization layers are not changed.
        batches: Batches of training images `[batch, height, width, channels]`.

    Returns:
        The number of layers with new statistics.

    Raises:
        RunError: If there are trainable batch normalization layers but no batches.

    Reference:
        Ioffe and Szegedy, Batch Normalization (2015), algorithm 2; Noh, Hong and Han, Learning Deconvolution Network
        for Semantic Segmentation (2015), released code.
    """
    layers = [
        layer for layer in flat_layers(model) if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    sums = [Sums() for _ in layers]
    with recording(layers, sums):
        for images in batches if layers else ():
            model(images, training=True)
    for layer, layer_sums in zip(layers, sums, strict=True):
        mean, variance = layer_sums.averages(layer.name)
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
    return len(layers)


class Sums:
    """Sums of the batch statistics of a layer's inputs, in double precision."""

    def __init__(self) -> None:
        self.batches = 0
        self.means: Any = 0.0
        self.variances: Any = 0.0

    def add(self, inputs: Any, axis: int) -> None:
        """Adds the statistics of one batch. A layer called several times in a network adds one batch per call."""
        values = ops.cast(inputs, "float32")
        axes = [index for index in range(len(values.shape)) if index != axis % len(values.shape)]
        mean, variance = (ops.convert_to_numpy(part).astype(np.float64) for part in ops.moments(values, axes))
        count = int(np.prod([values.shape[index] for index in axes]))
        self.means = self.means + mean
        self.variances = self.variances + variance * count / max(count - 1, 1)
        self.batches += 1

    def averages(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the average mean and variance of the layer `name`."""
        if not self.batches:
            raise RunError(
                f"the statistics of {name} cannot be estimated without batches. Expected at least one batch of images"
            )
        return self.means / self.batches, self.variances / self.batches


@contextmanager
def recording(layers: list[keras.layers.Layer], sums: list[Sums]) -> Iterator[None]:
    """Context that adds the statistics of each layer's inputs to `sums`, and restores the moving statistics at its end.

    The method `call` of each layer is wrapped, because the inputs of nested layers are not tensors of the network.
    """
    statistics = [(layer.moving_mean.numpy(), layer.moving_variance.numpy()) for layer in layers]
    for layer, layer_sums in zip(layers, sums, strict=True):
        layer.call = _recorded(layer.call, layer_sums, layer.axis)
    try:
        yield
    finally:
        for layer, (mean, variance) in zip(layers, statistics, strict=True):
            del layer.call  # restores the method of the class
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)


def _recorded(call: Callable[..., Any], sums: Sums, axis: int) -> Callable[..., Any]:
    def recorded(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        sums.add(inputs, axis)
        return call(inputs, *args, **kwargs)

    return recorded
