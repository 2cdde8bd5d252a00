"""VGG16, its fully connected layers as convolutions: in the forms that segmentation nets gave it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.applications import classifier
from tfseg.backbones.features import Features, Stage
from tfseg.backbones.vgg_weights import CONVS, vgg16_arrays
from tfseg.backbones.weights import Arrays, WeightsReport, fill, imagenet_refusal, read_layers
from tfseg.layers import CaffeMaxPooling2D, MaxPoolingWithArgmax2D, Normalize
from tfseg.spec.declare import Location, Misfit, spec

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
"""Convolutions and channels of each block."""


@spec
class FullyConnected:
    """The convolutions `fc6` and `fc7`, that were the classifier's fully connected layers."""

    kernel: Annotated[int, Field(ge=1, le=7)] = 7
    """Height and width of `fc6`."""
    filters: Annotated[int, Field(ge=1)] = 4096
    """Channels of `fc6` and `fc7`, before `width`."""


@spec
class Vgg16:
    """VGG16 (Simonyan & Zisserman 2015, configuration D) as segmentation nets use it.

    Layers are named as in the authors' prototxts. Stages are `pool1` (stride 2) to `pool5` (32) and `fc7` (32).
    Three channels are taken as RGB and become BGR less Caffe's means; other images are scaled to -1..1.
    """

    type: Literal["vgg16"] = "vgg16"
    form: Literal["original", "same"] = "same"
    """`original` (FCN): the first layer pads by 100, `fc6` does not pad, scores are cropped. `same`: every layer pads
    so that its map covers the image, no more."""
    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor of every layer's channels; 1 is 134 million parameters."""
    fc: FullyConnected | None = FullyConnected()
    """The layers after the last pool; null ends there."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of units left out after `fc6` and `fc7` in training."""
    batch_norm: bool = False
    """Normalise between every convolution and its ReLU, as DeconvNet and SegNet do."""
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Of BatchNorm's moving averages."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-3
    """What BatchNorm adds to variances."""
    indices: bool = False
    """Pools keep where they found their maxima, for decoders that unpool."""
    weights: Literal["imagenet"] | Location | None = None
    """`imagenet` (fetched by Keras when training starts), or a file: `.h5` of `keras.applications` with top, `.npz`
    (`layer/variable`), or a `.keras` model that has these layers, such as FCN-32s for FCN-16s."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := list(self._own_problems()):
            raise Misfit(*problems)
        return self

    def _own_problems(self) -> Iterator[tuple[str, str]]:
        if self.weights == "imagenet" and self.width != 1.0:
            yield "weights", f"ImageNet weights exist for width 1.0, not for {self.width}"

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

    @property
    def indexed(self) -> bool:
        return self.indices

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
                x = self._conv(x, filters, 3, f"{block + 1}_{conv + 1}")
            stages.append(self._pool(x, f"pool{block + 1}", 2 ** (block + 1)))
            x = stages[-1].tensor
        if self.fc is not None:
            stages.append(Stage("fc7", 32, self._fully_connected(x, self.fc)))
        return Features(tuple(stages))

    def load_weights(self, model: keras.Model) -> WeightsReport | None:
        """Fills these layers within `model` from `weights`."""
        if self.weights is None:
            return None
        required = (*CONVS, "fc6", "fc7") if self.fc is not None else CONVS
        return fill(model, self._arrays(self.weights), required, str(self.weights))

    def _arrays(self, weights: Literal["imagenet"] | Path) -> Arrays:
        if isinstance(weights, Path) and weights.suffix != ".h5":
            return read_layers(weights)
        return vgg16_arrays(classifier(keras.applications.VGG16, weights))

    def _fully_connected(self, x: keras.KerasTensor, fc: FullyConnected) -> keras.KerasTensor:
        x = self._conv(x, fc.filters, fc.kernel, "6", "fc")
        x = keras.layers.Dropout(self.dropout, name="drop6")(x)
        x = self._conv(x, fc.filters, 1, "7", "fc")
        return keras.layers.Dropout(self.dropout, name="drop7")(x)

    def _conv(
        self, x: keras.KerasTensor, filters: int, size: int, number: str, prefix: str = "conv"
    ) -> keras.KerasTensor:
        """A convolution and its ReLU, within one layer unless BatchNorm stands between them."""
        name = prefix + number
        padding = "valid" if self.padded and name in ("conv1_1", "fc6") else "same"  # conv1_1 gets its 100 before
        activation = None if self.batch_norm else "relu"
        scaled = max(1, round(filters * self.width))
        x = keras.layers.Conv2D(
            scaled, size, padding=padding, activation=activation, kernel_initializer="he_normal", name=name
        )(x)
        if not self.batch_norm:
            return x
        x = keras.layers.BatchNormalization(momentum=self.momentum, epsilon=self.epsilon, name=f"{name}_bn")(x)
        return keras.layers.ReLU(name=f"relu{number}")(x)

    def _pool(self, x: keras.KerasTensor, name: str, stride: int) -> Stage:
        if self.indices:  # 2x2 windows in steps of 2: what rounds up, as Caffe does, is `same`
            pooled, indices = MaxPoolingWithArgmax2D(2, 2, "same", name=name)(x)
            return Stage(name, stride, pooled, indices, x)
        pool = CaffeMaxPooling2D(2, 2, name=name) if self.padded else keras.layers.MaxPooling2D(2, 2, "same", name=name)
        return Stage(name, stride, pool(x), source=x)
