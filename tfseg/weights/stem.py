"""First kernels of a network for images with another number of channels than the RGB images of the weights."""

from collections.abc import Mapping

import keras
import numpy as np

from tfseg.keras_internals import producer, readers
from tfseg.weights.lookup import OperationWeights
from tfseg.weights.modules import Modules

RGB = 3


def adapt_stem(model: keras.Model, modules: Modules, found: Mapping[str, OperationWeights]) -> tuple[str, ...]:
    """Adapts the kernels of RGB in `found` that the network applies to images of other channels.

    Every channel gets the mean of the kernel over RGB, times 3 divided by the number of channels. If all channels of an
    image are equal, the outputs are therefore those of the RGB kernel for a gray image.

    Args:
        model: Functional model whose input is the image.
        modules: Layers of the model that have weights.
        found: Arrays of the file, by the paths of the layers; changed in this function.

    Returns:
        The paths of the layers whose kernels were adapted.
    """
    channels = model.input.shape[-1]
    if channels == RGB:
        return ()
    adapted = []
    first = _first_layers(model)
    for name, each in found.items():
        kernel = each.values.get("kernel")
        if name.partition("/")[0] in first and kernel is not None and "kernel" in modules.variables[name]:
            shape = tuple(modules.variables[name]["kernel"].shape)
            if kernel.shape == (*shape[:-2], RGB, shape[-1]) and shape[-2] == channels:
                each.values["kernel"] = over_channels(kernel, channels)
                adapted.append(name)
    return tuple(adapted)


def over_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Returns the kernel for another number of channels: its mean over RGB, times 3 divided by `channels`.

    >>> over_channels(np.array([[[[1.0], [2.0], [6.0]]]]), 2).ravel().tolist()
    [4.5, 4.5]

    Args:
        kernel: Array of shape `[height, width, 3, filters]`.
        channels: Integer, number of channels of the images.

    Returns:
        Array of shape `[height, width, channels, filters]`.
    """
    return np.repeat(kernel.mean(-2, keepdims=True), channels, -2) * (RGB / channels)


def _first_layers(model: keras.Model) -> set[str]:
    """Returns the names of the layers with weights whose input is the image, possibly after layers without weights."""
    inside, first = set(model.operations), set[str]()
    waiting, visited = [producer(model.input)[0]], set[keras.Operation]()
    while waiting:
        for reader in readers(waiting.pop()):
            if reader not in inside or reader in visited:
                continue
            visited.add(reader)
            if getattr(reader, "weights", ()):
                first.add(reader.name)
            else:
                waiting.append(reader)
    return first
