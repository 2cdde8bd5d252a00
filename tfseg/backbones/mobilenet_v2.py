"""MobileNetV2 with the layer names of `keras.applications`, `same` padding and an output stride of one's choice."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.applications import classifier, imagenet_problems
from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.context import Context
from tfseg.layers import Normalize
from tfseg.layers.norm import normalized
from tfseg.ops.geometry import dilate
from tfseg.spec.declare import Location, spec
from tfseg.spec.problems import FieldProblem
from tfseg.weights import Arrays, arrays_of

Dilation = Literal["consistent", "early"]
PUBLISHED = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
"""The width factors that ImageNet weights exist for."""


@dataclass(frozen=True)
class Block:
    """One inverted residual block: 1x1 to `expansion` times the channels, 3x3 depthwise, linear 1x1 to `filters`."""

    index: int
    expansion: int
    filters: int
    stride: int
    """As in the paper; a dilated net steps by less."""
    step: int
    rate: int

    @property
    def prefix(self) -> str:
        return f"block_{self.index}_" if self.index else "expanded_conv_"


def blocks(output_stride: int, dilation: Dilation = "consistent") -> tuple[Block, ...]:
    """The 17 blocks of the paper's table 2, dilated where a step is taken away to keep `output_stride`."""
    groups = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    rows = [(t, c, s if i == 0 else 1) for t, c, n, s in groups for i in range(n)]
    steps = list(dilate((2, *(stride for _, _, stride in rows)), output_stride)[1:])  # the first 2 is the stem's
    if dilation == "early" and output_stride < 32:
        lost = next(i for i, (row, (step, _)) in enumerate(zip(rows, steps, strict=True)) if step < row[-1])
        steps[lost] = (1, rows[lost][-1])
    return tuple(Block(i, *row, *step) for i, (row, step) in enumerate(zip(rows, steps, strict=True)))


@spec
class MobileNetV2(Backbone):
    """MobileNetV2 (Sandler et al. 2018, table 2) up to block 16, without the 1280 channels that classify.

    Its stages are the widened inputs of the blocks that halve the map, `block_1_expand_relu` (stride 2) to
    `block_13_expand_relu` (16), and the linear output of block 16; and before the second of them
    `block_2_depthwise_relu`, the one of stride 4 that the authors' DeepLab v3+ refines with. Layers are named as in
    `keras.applications.MobileNetV2`, so that its weights fit.
    """

    type: Literal["mobilenet_v2"] = "mobilenet_v2"
    width_multiplier: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor of every layer's channels."""
    divisor: Annotated[int, Field(ge=1, le=64)] = 8
    """Channels are rounded to multiples of it, and are 8 at least: 8 for classifiers; 1 in the authors' DeepLab at an
    `width_multiplier` below 1."""
    output_stride: Literal[8, 16, 32] = 32
    """Image pixels between two places of the deepest stage; below 32, blocks dilate instead of halving the map."""
    dilation: Dilation = "consistent"
    """`consistent`: blocks behind one that lost its stride dilate, and the net computes what it computes at output
    stride 32, at more places. `early`: so does the first that lost its stride (Model Garden)."""
    normalize: Literal["tf", "torch"] = "tf"
    """What three-channel pixels become: -1 to 1, or RGB less the mean over the deviation (Model Garden); images of
    other channels always the first."""
    weights: Literal["imagenet"] | Location | None = None
    """`imagenet` (fetched by Keras when training starts), or a file: `.npz` (`layer/variable`, BatchNorm may be folded
    into `bias`), `.h5` of `keras.applications` without top, a `.keras` model that has these layers, or whatever else
    `tfseg import` reads, such as `.tflite`."""

    @model_validator(mode="after")
    def _published(self) -> Self:
        if self.weights == "imagenet" and self.divisor != 8:
            raise ValueError(f"ImageNet weights exist for divisor 8, not for {self.divisor}")
        if self.weights == "imagenet" and self.width_multiplier not in PUBLISHED:
            raise ValueError(
                f"ImageNet weights exist for width_multiplier {', '.join(map(str, PUBLISHED))}, not for "
                f"{self.width_multiplier}"
            )
        return self

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from reading the images of the context, each as (path, message)."""
        yield from imagenet_problems(self.weights, context.channels)

    def __call__(self, image: keras.KerasTensor) -> Features:
        x = Normalize(self.normalize if image.shape[-1] == 3 else "tf", name="normalize")(image)
        x = keras.layers.Conv2D(self._filters(32), 3, 2, "same", use_bias=False, name="Conv1")(x)
        x = self._activated(x, "bn_Conv1", "Conv1_relu")
        stages, stride = [], 2
        for block in blocks(self.output_stride, self.dilation):
            wide, thinned, x = self._block(x, block)
            if block.stride == 2:
                stages.append(Stage(f"{block.prefix}expand_relu", stride, wide))
            stride *= block.step
            if block.index == 2:
                stages.append(Stage(f"{block.prefix}depthwise_relu", stride, thinned))
        return Features((*stages, Stage("block_16_project_BN", stride, x)))

    def _keras_arrays(self, weights: str | Path) -> Arrays:
        arguments = {"include_top": False, "alpha": self.width_multiplier, "input_shape": (224, 224, 3)}
        return arrays_of(classifier(keras.applications.MobileNetV2, weights, **arguments))

    def _block(self, x: keras.KerasTensor, block: Block) -> tuple[keras.KerasTensor, ...]:
        """The widened input of `block`, what its depthwise convolution makes of that, and its output."""
        before, name = x, block.prefix
        if block.expansion > 1:
            x = keras.layers.Conv2D(x.shape[-1] * block.expansion, 1, use_bias=False, name=f"{name}expand")(x)
            x = self._activated(x, f"{name}expand_BN", f"{name}expand_relu")
        wide = x
        x = keras.layers.DepthwiseConv2D(
            3, block.step, "same", dilation_rate=block.rate, use_bias=False, name=f"{name}depthwise"
        )(x)
        thinned = self._activated(x, f"{name}depthwise_BN", f"{name}depthwise_relu")
        x = keras.layers.Conv2D(self._filters(block.filters), 1, use_bias=False, name=f"{name}project")(thinned)
        x = normalized(x, f"{name}project_BN")
        if block.stride == 1 and x.shape[-1] == before.shape[-1]:
            x = keras.layers.Add(name=f"{name}add")([before, x])
        return wide, thinned, x

    def _activated(self, x: keras.KerasTensor, norm: str, relu: str) -> keras.KerasTensor:
        return keras.layers.ReLU(6.0, name=relu)(normalized(x, norm))

    def _filters(self, filters: int) -> int:
        """`width_multiplier` times `filters`, to a multiple of `divisor` that loses a tenth at most, as the authors
        round."""
        scaled, divisor = filters * self.width_multiplier, self.divisor
        rounded = max(8, int(scaled + divisor / 2) // divisor * divisor)
        return rounded + divisor if rounded < 0.9 * scaled else rounded
