"""VGG16, its fully connected layers as convolutions: padded by 100 as FCN was released, or with `same` padding."""

from pathlib import Path
from typing import Annotated, Literal, Self

import keras
import numpy as np
from pydantic import Field, model_validator

from tfseg.backbones.applications import classifier
from tfseg.backbones.features import Features, Stage
from tfseg.backbones.weights import Arrays, WeightsReport, fill, imagenet_refusal, layer_arrays, read_layers
from tfseg.layers import CaffeMaxPooling2D, Normalize
from tfseg.spec.declare import Location, spec

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
"""Convolutions and channels of each block."""
CONVS = tuple(f"conv{block + 1}_{conv + 1}" for block, (count, _) in enumerate(BLOCKS) for conv in range(count))


@spec
class Vgg16:
    """VGG16 (Simonyan & Zisserman 2015, configuration D) as FCN uses it (Shelhamer et al. 2016, section 4).

    Layers are named as in the authors' prototxt. Stages are `pool1` (stride 2) to `pool5` (32) and `fc7` (32).
    Three channels are taken as RGB and become BGR less Caffe's means; other images are scaled to -1..1.
    """

    type: Literal["vgg16"] = "vgg16"
    form: Literal["original", "same"] = "same"
    """`original`: the first layer pads by 100, `fc6` does not pad, scores are cropped. `same`: every layer pads so that
    its map covers the image, no more."""
    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor of every layer's channels; 1 is 134 million parameters."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of units left out after `fc6` and `fc7` in training."""
    weights: Literal["imagenet"] | Location | None = None
    """`imagenet` (fetched by Keras when training starts), or a file: `.h5` of `keras.applications` with top, `.npz`
    (`layer/variable`), or a `.keras` model that has these layers, such as FCN-32s for FCN-16s."""

    @model_validator(mode="after")
    def _published(self) -> Self:
        if self.weights == "imagenet" and self.width != 1.0:
            raise ValueError(f"ImageNet weights exist for width 1.0, not for {self.width}")
        return self

    @property
    def strides(self) -> tuple[int, ...]:
        return (2, 4, 8, 16, 32)

    @property
    def output_stride(self) -> int:
        return 32

    @property
    def fixed_grid(self) -> bool:
        return True

    @property
    def padded(self) -> bool:
        return self.form == "original"

    def refusal(self, channels: int) -> str | None:
        """Why it cannot read images of that many channels, or None."""
        return imagenet_refusal(self.weights, channels)

    def __call__(self, image: keras.KerasTensor) -> Features:
        x = Normalize("caffe" if image.shape[-1] == 3 else "tf", name="normalize")(image)
        if self.padded:
            x = keras.layers.ZeroPadding2D(100, name="pad")(x)
        stages = []
        for block, (count, filters) in enumerate(BLOCKS):
            for conv in range(count):
                x = self._conv(filters, 3, f"conv{block + 1}_{conv + 1}")(x)
            x = self._pool(f"pool{block + 1}")(x)
            stages.append(Stage(f"pool{block + 1}", 2 ** (block + 1), x))
        return Features((*stages, Stage("fc7", 32, self._fully_connected(x))))

    def load_weights(self, model: keras.Model) -> WeightsReport | None:
        """Fills these layers within `model` from `weights`."""
        if self.weights is None:
            return None
        return fill(model, self._arrays(self.weights), (*CONVS, "fc6", "fc7"), str(self.weights))

    def _arrays(self, weights: Literal["imagenet"] | Path) -> Arrays:
        if isinstance(weights, Path) and weights.suffix != ".h5":
            return read_layers(weights)
        return vgg16_arrays(classifier(keras.applications.VGG16, weights))

    def _fully_connected(self, x: keras.KerasTensor) -> keras.KerasTensor:
        x = self._conv(4096, 7, "fc6")(x)
        x = keras.layers.Dropout(self.dropout, name="drop6")(x)
        return keras.layers.Dropout(self.dropout, name="drop7")(self._conv(4096, 1, "fc7")(x))

    def _conv(self, filters: int, size: int, name: str) -> keras.layers.Conv2D:
        padding = "valid" if self.padded and name in ("conv1_1", "fc6") else "same"  # conv1_1 gets its 100 before
        scaled = max(1, round(filters * self.width))
        return keras.layers.Conv2D(
            scaled, size, padding=padding, activation="relu", kernel_initializer="he_normal", name=name
        )

    def _pool(self, name: str) -> keras.layers.Layer:
        return CaffeMaxPooling2D(2, 2, name=name) if self.padded else keras.layers.MaxPooling2D(2, 2, "same", name=name)


def vgg16_arrays(classifier: keras.Model) -> Arrays:
    """The weights of a `keras.applications.VGG16` classifier under the names and in the shapes of the convolutions.

    `fc1` reads the flattened 7x7 map, so its matrix is the 7x7 kernel of `fc6`; `fc2` is the 1x1 kernel of `fc7`.
    The classifier's `predictions` become `score_fr`, which only fits a net of its classes.
    """
    layers = layer_arrays(classifier)
    names = {f"block{name[4]}_conv{name[6]}": name for name in CONVS}
    arrays = {ours: layers[theirs] for theirs, ours in names.items()}
    for theirs, ours, size in (("fc1", "fc6", 7), ("fc2", "fc7", 1), ("predictions", "score_fr", 1)):
        arrays[ours] = {"kernel": _as_kernel(layers[theirs]["kernel"], size), "bias": layers[theirs]["bias"]}
    return arrays


def _as_kernel(matrix: np.ndarray, size: int) -> np.ndarray:
    inputs, outputs = matrix.shape
    return matrix.reshape(size, size, inputs // size**2, outputs)


def convert_vgg16(classifier: keras.Model, model: keras.Model) -> WeightsReport:
    """Fills the VGG16 layers of `model` from a `keras.applications.VGG16(include_top=True)`.

    Its `predictions` fill `score_fr` too where `model` scores as many classes.
    """
    return fill(model, vgg16_arrays(classifier), (*CONVS, "fc6", "fc7"), f"classifier {classifier.name!r}")
