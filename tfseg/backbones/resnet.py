"""ResNet-50, 101 and 152 with the layer names of `keras.applications` and a configurable output stride."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.applications import classifier
from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.layers import AtrousConv2D, CaffeMaxPooling2D, Normalize
from tfseg.layers.norm import normalized
from tfseg.ops.geometry import dilate
from tfseg.spec.declare import Location, spec
from tfseg.spec.problems import FieldProblem, InvalidFields
from tfseg.weights import Arrays, arrays_of

UNITS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Number of units of the stages `conv2` to `conv5`, by depth."""
STRIDES = (1, 2, 2, 2)
"""Strides of the first unit of each stage, after the stem of stride 4."""
EPSILON = 1e-5
"""Epsilon of the authors' BatchNorm. Model Garden uses 1e-3; `model.norm.epsilon` changes it."""


@dataclass(frozen=True)
class Unit:
    """Bottleneck unit: 1x1 to `filters`, 3x3, 1x1 to `4 * filters`, added to the input."""

    name: str
    filters: int
    step: int
    rate: int
    """Dilation rate of the 3x3 convolution."""
    first: bool
    """True for the first unit of a stage, whose shortcut is a 1x1 projection."""


@spec
class Resnet(Backbone):
    """ResNet (He et al. 2016), by default as in DeepLab v2: strides on the first 1x1 convolution, Caffe's padding.

    Stages are `conv1_relu` (stride 2) and the outputs of `conv2` to `conv5`: `conv2_block3_out` (4) and so on to
    `conv5_block3_out`. Layers are named as in `keras.applications.ResNet101`; weight files may also use the names of
    the authors' prototxts.

    Reference:
        He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, table 1. Chen et al.,
        "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, section 3.2 (`multi_grid`).
    """

    type: Literal["resnet"] = "resnet"
    depth: Literal[50, 101, 152] = 101
    """Number of layers in the name of the network: 50, 101 or 152."""
    width_multiplier: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor on the number of filters of every layer."""
    output_stride: Literal[8, 16, 32] = 32
    """Ratio of input to feature resolution; below 32, strides of deeper layers are replaced by dilation."""
    multi_grid: tuple[Annotated[int, Field(ge=1)], ...] = (1, 1, 1)
    """Factors on the dilation rates of the three units of the last stage; (1, 2, 4) in DeepLab v3."""
    dilation: Literal["consistent", "every_unit"] = "consistent"
    """Dilation of stages whose stride was removed. `consistent`: the 3x3 convolutions after the removed stride dilate,
    and the network computes the same values as at output stride 32, at more positions; with `stride_on: first` these
    are all 3x3 convolutions of the stage, as in the released DeepLab. `every_unit`: the first unit's 3x3 convolution,
    which carried the stride, dilates too (Model Garden)."""
    stem: Literal["7x7", "3x3"] = "7x7"
    """One 7x7 convolution, or three 3x3 convolutions of 64, 64 and 128 filters (Model Garden's v1)."""
    stride_on: Literal["first", "3x3"] = "first"
    """Convolution that carries the stride of a unit: the first 1x1 (the authors), or the 3x3 (Model Garden, torch)."""
    padding: Literal["caffe", "same"] = "caffe"
    """`caffe`: equal padding on both sides, and the output size of the pool is rounded up. `same`: as in TensorFlow."""
    activation: Literal["relu", "swish"] = "relu"
    """Activation after each BatchNorm and each residual sum."""
    normalize: Literal["caffe", "torch", "tf"] = "caffe"
    """Preprocessing of three-channel images: `caffe` converts to BGR and subtracts the mean, `torch` subtracts the RGB
    mean and divides by the std, `tf` scales to -1..1. For other than 3 channels, mean and std are averaged."""
    weights: Literal["imagenet"] | Location | None = None
    """`imagenet` (downloaded by Keras when training starts), or the path of a weight file: `.h5` of
    `keras.applications` without top, `.npz` (`layer/variable`, with layer names of Keras or Caffe), a `.keras` model
    with these layers, or any other file that `tfseg import` reads."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := list(self._own_problems()):
            raise InvalidFields(*problems)
        return self

    def _own_problems(self) -> Iterator[FieldProblem]:
        published = {"width_multiplier": 1.0, "stem": "7x7", "stride_on": "first", "activation": "relu"}
        for name, value in published.items() if self.weights == "imagenet" else ():
            if getattr(self, name) != value:
                yield (name,), f"must be {value} with ImageNet weights. Received: {getattr(self, name)}"
        if len(self.multi_grid) != UNITS[self.depth][-1]:
            yield (
                ("multi_grid",),
                f"must have 3 factors, one per unit of the last stage. Received: {list(self.multi_grid)}",
            )
        elif self.multi_grid[0] > 1 and self.stride_on == "3x3" and self.output_stride == 32:
            received = f"Received: {list(self.multi_grid)}"
            yield (
                ("multi_grid",),
                "must start with 1 at output stride 32: the first 3x3 convolution is strided and cannot be dilated. "
                f"{received}",
            )

    @property
    def stages(self) -> tuple[tuple[Unit, ...], ...]:
        """Units of `conv2` to `conv5`, with strides and dilation rates for the output stride."""
        plan = dilate((4, *STRIDES), self.output_stride)[1:]
        return tuple(self._units(index, *plan[index]) for index in range(len(STRIDES)))

    def _units(self, stage: int, step: int, rate: int) -> tuple[Unit, ...]:
        count = UNITS[self.depth][stage]
        behind = rate * STRIDES[stage] // step
        # A stride on the first 1x1 also subsamples the input of the first 3x3.
        first = rate if self.stride_on == "3x3" and self.dilation == "consistent" else behind
        grid = self.multi_grid if stage == len(STRIDES) - 1 else (1,) * count
        rates = (first * grid[0], *(behind * factor for factor in grid[1:]))
        return tuple(
            Unit(f"conv{stage + 2}_block{i + 1}", 64 * 2**stage, step if i == 0 else 1, rates[i], i == 0)
            for i in range(count)
        )

    def __call__(self, image: keras.KerasTensor) -> Features:
        x = Normalize(self.normalize, name="normalize").for_channels(image.shape[-1])(image)
        for name, filters, size, step in self._stem_convs:
            x = self._activated(x, filters, size, name, step)
        found = [Stage(f"{self._stem_convs[-1][0]}_{self.activation}", 2, x)]
        x, stride = self._pool(x), 4
        for units in self.stages:
            for unit in units:
                x = self._unit(x, unit)
            stride *= units[0].step
            found.append(Stage(f"{units[-1].name}_out", stride, x))
        return Features(tuple(found))

    def _keras_arrays(self, weights: str | Path) -> Arrays:
        build = getattr(keras.applications, f"ResNet{self.depth}")
        return arrays_of(classifier(build, weights, include_top=False, input_shape=(224, 224, 3)))

    @property
    def _stem_convs(self) -> tuple[tuple[str, int, int, int], ...]:
        """Name, filters, kernel size and stride of each convolution of the stem."""
        if self.stem == "7x7":
            return (("conv1", 64, 7, 2),)
        return ("conv1_1", 64, 3, 2), ("conv1_2", 64, 3, 1), ("conv1_3", 128, 3, 1)

    def _pool(self, x: keras.KerasTensor) -> keras.KerasTensor:
        if self.padding == "same":
            return keras.layers.MaxPooling2D(3, 2, "same", name="pool1_pool")(x)
        return CaffeMaxPooling2D(3, 2, padding=1, name="pool1_pool")(x)

    def _unit(self, x: keras.KerasTensor, unit: Unit) -> keras.KerasTensor:
        name, outer = unit.name, 4 * unit.filters
        steps = (unit.step, 1) if self.stride_on == "first" else (1, unit.step)
        shortcut = self._normalized(x, outer, 1, f"{name}_0", unit.step) if unit.first else x
        x = self._activated(x, unit.filters, 1, f"{name}_1", steps[0])
        x = self._activated(x, unit.filters, 3, f"{name}_2", steps[1], unit.rate)
        x = self._normalized(x, outer, 1, f"{name}_3")
        x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
        return keras.layers.Activation(self.activation, name=f"{name}_out")(x)

    def _activated(
        self, x: keras.KerasTensor, filters: int, size: int, name: str, step: int = 1, rate: int = 1
    ) -> keras.KerasTensor:
        x = self._normalized(x, filters, size, name, step, rate)
        return keras.layers.Activation(self.activation, name=f"{name}_{self.activation}")(x)

    def _normalized(
        self, x: keras.KerasTensor, filters: int, size: int, name: str, step: int = 1, rate: int = 1
    ) -> keras.KerasTensor:
        padding: Literal["same"] | int = "same" if self.padding == "same" else rate * (size - 1) // 2
        x = AtrousConv2D(
            max(1, round(filters * self.width_multiplier)), size, step, padding, dilation_rate=rate, use_bias=False,
            kernel_initializer="he_normal", name=f"{name}_conv",
        )(x)  # fmt: skip
        return normalized(x, f"{name}_bn", epsilon=EPSILON)
