"""ResNet-50, 101 and 152 with the layer names of `keras.applications` and an output stride of one's choice."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.applications import classifier, imagenet_problems
from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.context import Context
from tfseg.layers import AtrousConv2D, CaffeMaxPooling2D, Normalize
from tfseg.layers.norm import normalized
from tfseg.ops.geometry import dilate
from tfseg.spec.declare import Location, spec
from tfseg.spec.problems import FieldProblem, InvalidFields
from tfseg.weights import Arrays, arrays_of

UNITS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Units of the stages `conv2` to `conv5`, by depth."""
STRIDES = (1, 2, 2, 2)
"""Of the first unit of each stage; two halvings come before."""
EPSILON = 1e-5
"""Added to variances, as the authors do; Model Garden adds 1e-3, and says so in `model.norm`."""


@dataclass(frozen=True)
class Unit:
    """One bottleneck: 1x1 to `filters`, 3x3, 1x1 to four times as many, added to what came in."""

    name: str
    filters: int
    step: int
    rate: int
    """Of the 3x3."""
    first: bool
    """Of its stage: what came in is projected by a 1x1."""


@spec
class Resnet(Backbone):
    """ResNet (He et al. 2016), by default as DeepLab v2 took it: strides on the first 1x1, Caffe's padding.

    Stages are the last output of each size: `conv1_relu` (stride 2), `conv2_block3_out` (4) and so on to
    `conv5_block3_out`. Layers are named as in `keras.applications.ResNet101`; the names of the authors' prototxts
    are understood in weight files.

    Reference:
        He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, table 1. Chen et al.,
        "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, section 3.2 (`multi_grid`).
    """

    type: Literal["resnet"] = "resnet"
    depth: Literal[50, 101, 152] = 101
    """Layers with weights, as they are counted: 50, 101 or 152."""
    width_multiplier: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor of every layer's channels."""
    output_stride: Literal[8, 16, 32] = 32
    """Image pixels between two places of the deepest stage; below 32, stages dilate instead of halving the map."""
    multi_grid: tuple[Annotated[int, Field(ge=1)], ...] = (1, 1, 1)
    """Further factors of the rates of the last stage's three units: (1, 2, 4) in DeepLab v3."""
    dilation: Literal["consistent", "every_unit"] = "consistent"
    """Where a stage lost its stride. `consistent`: the 3x3s behind that stride dilate, and the net computes what it
    computes at output stride 32, at more places; with `stride_on: first` those are all, as DeepLab released it.
    `every_unit`: so does the first unit's 3x3 that carried the stride itself (Model Garden)."""
    stem: Literal["7x7", "3x3"] = "7x7"
    """One 7x7 convolution, or three of 3x3 with 64, 64 and 128 channels (Model Garden's v1)."""
    stride_on: Literal["first", "3x3"] = "first"
    """Which convolution of a unit carries its stride: the first 1x1 (the authors), or the 3x3 (Model Garden, torch)."""
    padding: Literal["caffe", "same"] = "caffe"
    """Equal on both sides, and the pool's size rounds up; or TensorFlow's."""
    activation: Literal["relu", "swish"] = "relu"
    """What follows each BatchNorm and each sum."""
    normalize: Literal["caffe", "torch", "tf"] = "caffe"
    """What three-channel pixels become: BGR less the mean, RGB less the mean over the deviation, or -1 to 1; images of
    other channels always the last."""
    weights: Literal["imagenet"] | Location | None = None
    """`imagenet` (fetched by Keras when training starts), or a file: `.h5` of `keras.applications` without top, `.npz`
    (`layer/variable`, Keras's or Caffe's layer names), a `.keras` model that has these layers, or whatever else
    `tfseg import` reads."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := list(self._own_problems()):
            raise InvalidFields(*problems)
        return self

    def _own_problems(self) -> Iterator[FieldProblem]:
        published = {"width_multiplier": 1.0, "stem": "7x7", "stride_on": "first", "activation": "relu"}
        for name, value in published.items() if self.weights == "imagenet" else ():
            if getattr(self, name) != value:
                yield (name,), f"ImageNet weights exist for {value}. Received: {getattr(self, name)}"
        if len(self.multi_grid) != UNITS[self.depth][-1]:
            yield (
                ("multi_grid",),
                f"the last stage has 3 units, each takes one factor. Received: {list(self.multi_grid)}",
            )
        elif self.multi_grid[0] > 1 and self.stride_on == "3x3" and self.output_stride == 32:
            received = f"Received: {list(self.multi_grid)}"
            yield ("multi_grid",), f"the first 3x3 has a stride at output stride 32 and cannot dilate too. {received}"

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from reading the images of the context, each as (path, message)."""
        yield from imagenet_problems(self.weights, context.channels)

    @property
    def stages(self) -> tuple[tuple[Unit, ...], ...]:
        """The units of `conv2` to `conv5`, with the steps and rates that the output stride asks for."""
        plan = dilate((4, *STRIDES), self.output_stride)[1:]
        return tuple(self._units(index, *plan[index]) for index in range(len(STRIDES)))

    def _units(self, stage: int, step: int, rate: int) -> tuple[Unit, ...]:
        count = UNITS[self.depth][stage]
        behind = rate * STRIDES[stage] // step
        # A stride on the first 1x1 has thinned the input of the first 3x3 too.
        first = rate if self.stride_on == "3x3" and self.dilation == "consistent" else behind
        grid = self.multi_grid if stage == len(STRIDES) - 1 else (1,) * count
        rates = (first * grid[0], *(behind * factor for factor in grid[1:]))
        return tuple(
            Unit(f"conv{stage + 2}_block{i + 1}", 64 * 2**stage, step if i == 0 else 1, rates[i], i == 0)
            for i in range(count)
        )

    def __call__(self, image: keras.KerasTensor) -> Features:
        x = Normalize(self.normalize if image.shape[-1] == 3 else "tf", name="normalize")(image)
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
        """Name, filters, size and stride of what comes before the pool."""
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
