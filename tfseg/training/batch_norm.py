"""The statistics of batch normalization, measured once more when the weights no longer change."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from tfseg.errors import RunError
from tfseg.training.freezing import flat_layers


def estimate_batch_norm(model: keras.Model, batches: Iterable[Any]) -> int:
    """Gives every batch normalization that learns the plain average of its statistics over `batches`.

    Moving averages mix statistics of weights that have changed meanwhile; these are of the weights as they are. The
    network computes each batch as in training. With the mean and the variance of the `m` values that a channel has in
    a batch, the moving mean becomes the average of the means, and the moving variance the average of
    `m / (m - 1) * variance`.

    Args:
        model: image to logits; batch normalization that does not learn is left alone.
        batches: images `[batch, height, width, channels]`, as the training had them.

    Returns:
        How many layers were given new statistics.

    Raises:
        RunError: there is batch normalization to measure, and no batch.

    Reference:
        Ioffe and Szegedy, Batch Normalization (2015), algorithm 2; Noh, Hong and Han, Learning Deconvolution Network
        for Semantic Segmentation (2015), released code.
    """
    layers = [
        layer for layer in flat_layers(model) if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    sums = [Sums() for _ in layers]
    with watched(layers, sums):
        for images in batches if layers else ():
            model(images, training=True)
    for layer, found in zip(layers, sums, strict=True):
        mean, variance = found.averages(layer.name)
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
    return len(layers)


class Sums:
    """Statistics of the inputs of one layer, summed in double precision."""

    def __init__(self) -> None:
        self.batches = 0
        self.means: Any = 0.0
        self.variances: Any = 0.0

    def add(self, inputs: Any, axis: int) -> None:
        """One more batch. A layer that is used several times in a network has as many."""
        values = ops.cast(inputs, "float32")
        others = [place for place in range(len(values.shape)) if place != axis % len(values.shape)]
        mean, variance = (ops.convert_to_numpy(part).astype(np.float64) for part in ops.moments(values, others))
        count = int(np.prod([values.shape[place] for place in others]))
        self.means = self.means + mean
        self.variances = self.variances + variance * count / max(count - 1, 1)
        self.batches += 1

    def averages(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance over what was added."""
        if not self.batches:
            raise RunError(
                f"the statistics of {name} cannot be measured without any batch. Expected at least one batch of images"
            )
        return self.means / self.batches, self.variances / self.batches


@contextmanager
def watched(layers: list[keras.layers.Layer], sums: list[Sums]) -> Iterator[None]:
    """Inside, each layer adds its inputs to its sums before it computes, and changes no statistics in the end.

    The inputs of a layer within another one are no tensors of the network, so they cannot be its outputs: they are
    taken where the layer is called.
    """
    kept = [(layer.moving_mean.numpy(), layer.moving_variance.numpy()) for layer in layers]
    for layer, found in zip(layers, sums, strict=True):
        layer.call = _adding(layer.call, found, layer.axis)
    try:
        yield
    finally:
        for layer, (mean, variance) in zip(layers, kept, strict=True):
            del layer.call  # the class has it
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)


def _adding(call: Callable[..., Any], sums: Sums, axis: int) -> Callable[..., Any]:
    def adding(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        sums.add(inputs, axis)
        return call(inputs, *args, **kwargs)

    return adding
