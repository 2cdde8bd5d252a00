"""Checkpoints with random weights in the formats of other projects."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfseg.labels import Labels
from tfseg.models import Segmenter

STATISTICS = ("gamma", "beta", "moving_mean", "moving_variance")


def save_checkpoint(prefix: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Writes a TensorFlow checkpoint with these variable names, in the format of both savers of TensorFlow."""
    names, values = list(arrays), [tf.constant(array) for array in arrays.values()]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)
    return prefix


class Random:
    """Random arrays of a network, collected in `arrays` by name."""

    def __init__(self, conv: str, depthwise: str, bias: str, norm: str, suffix: str = "") -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._names = {"conv": conv, "depthwise": depthwise, "bias": bias, "norm": norm, "suffix": suffix}
        self._rng = np.random.default_rng(5)

    def conv(self, scope: str, size: int, channels: int, filters: int) -> None:
        kernel = self._rng.normal(0, (2 / (size * size * channels)) ** 0.5, (size, size, channels, filters))
        self._keep(f"{scope}/{self._names['conv']}", kernel)

    def depthwise(self, scope: str, channels: int) -> None:
        self._keep(f"{scope}/{self._names['depthwise']}", self._rng.normal(0, 0.4, (3, 3, channels, 1)))

    def bias(self, scope: str, filters: int) -> None:
        self._keep(f"{scope}/{self._names['bias']}", self._rng.normal(0, 0.3, filters))

    def norm(self, scope: str, channels: int) -> None:
        low, high = {"gamma": (0.5, 1.2), "moving_variance": (0.3, 2.0)}, (-0.3, 0.3)
        for name in STATISTICS:
            values = self._rng.uniform(*low.get(name, high), channels)
            self._keep(f"{scope}{self._names['norm']}/{name}", values)

    def _keep(self, name: str, array: np.ndarray) -> None:
        assert name not in self.arrays
        self.arrays[name + self._names["suffix"]] = array.astype(np.float32)


def classes(count: int) -> Labels:
    return Labels(names=tuple(f"class{index}" for index in range(count)))


def built(segmenter: Segmenter, count: int = 3) -> tuple[keras.Model, frozenset[str]]:
    """Returns the network in its training form, and the names of the layers of its backbone."""
    image = keras.Input((None, None, 3))
    stages = [stage.tensor for stage in segmenter.backbone(image).stages]
    model = segmenter.build(classes(count), training=True)
    return model, frozenset(layer.name for layer in keras.Model(image, stages).layers)


def scores(model: keras.Model, image: np.ndarray) -> np.ndarray:
    return np.asarray(model(image)["scores"])
