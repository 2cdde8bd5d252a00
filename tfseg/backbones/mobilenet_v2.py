"""MobileNetV2 with the layer names of `keras.applications`, `same` padding and a configurable output stride."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.applications import classifier
from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.layers import Normalize
from tfseg.layers.norm import normalized
from tfseg.ops.geometry import dilate
from tfseg.spec.declare import Location, spec
from tfseg.weights import Arrays, arrays_of

Dilation = Literal["consistent", "early"]
PUBLISHED = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
"""Width multipliers for which ImageNet weights exist."""


@dataclass(frozen=True)
class Block:
    """Inverted residual block: 1x1 expansion by `expansion`, 3x3 depthwise, linear 1x1 projection to `filters`."""

    index: int
    expansion: int
    filters: int
    stride: int
    """Stride in the paper."""
    step: int
    """Stride of the depthwise convolution; 1 where dilation replaces it."""
    rate: int
    """Dilation rate of the depthwise convolution."""

    @property
    def prefix(self) -> str:
        return f"block_{self.index}_" if self.index else "expanded_conv_"


def blocks(output_stride: int, dilation: Dilation = "consistent") -> tuple[Block, ...]:
    """Returns the 17 blocks of table 2 of the paper, with strides replaced by dilation to keep `output_stride`."""
    groups = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    rows = [(t, c, s if i == 0 else 1) for t, c, n, s in groups for i in range(n)]
    steps = list(dilate((2, *(stride for _, _, stride in rows)), output_stride)[1:])  # the first 2 is the stem's
    if dilation == "early" and output_stride < 32:
        lost = next(i for i, (row, (step, _)) in enumerate(zip(rows, steps, strict=True)) if step < row[-1])
        steps[lost] = (1, rows[lost][-1])
    return tuple(Block(i, *row, *step) for i, (row, step) in enumerate(zip(rows, steps, strict=True)))


@spec
class MobileNetV2(Backbone):
    """MobileNetV2 (Sandler et al. 2018, table 2) up to block 16, without the last convolution of 1280 filters.

    Stages are the expanded inputs of the blocks of stride 2, `block_1_expand_relu` (stride 2) to `block_13_expand_relu`
    (16), and the linear output of block 16. `block_2_depthwise_relu` (stride 4), the low-level features of the authors'
    DeepLab v3+, comes before `block_3_expand_relu`. Layers are named as in `keras.applications.MobileNetV2`, so that
    its weights fit.
    """

    type: Literal["mobilenet_v2"] = "mobilenet_v2"
    width_multiplier: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor on the number of filters of every layer (`alpha` in Keras)."""
    divisor: Annotated[int, Field(ge=1, le=64)] = 8
    """Divisor of the number of filters of every layer, which is rounded to a multiple of it and is at least 8. The
    divisor is 8 in the classifiers, and 1 in the authors' DeepLab at a `width_multiplier` below 1."""
    output_stride: Literal[8, 16, 32] = 32
    """Ratio of input to feature resolution; below 32, strides of deeper layers are replaced by dilation."""
    dilation: Dilation = "consistent"
    """`consistent`: the blocks after a removed stride dilate, and the network computes the same values as at output
    stride 32, at more positions. `early`: the first block whose stride was removed dilates too (Model Garden)."""
    normalize: Literal["tf", "torch"] = "tf"
    """Preprocessing of three-channel images: `tf` scales to -1..1, `torch` subtracts the RGB mean and divides by the
    std (Model Garden). For other than 3 channels, mean and std are averaged."""
    weights: Literal["imagenet"] | Location | None = None
    """`imagenet` (downloaded by Keras when training starts), or the path of a weight file: `.npz` (`layer/variable`,
    possibly with BatchNorm folded into `bias`), `.h5` of `keras.applications` without top, a `.keras` model with these
    layers, or any other file that `tfseg import` reads, such as `.tflite`."""

    @model_validator(mode="after")
    def _published(self) -> Self:
        if self.weights == "imagenet" and self.divisor != 8:
            raise ValueError(f"ImageNet weights require divisor 8. Received: {self.divisor}")
        if self.weights == "imagenet" and self.width_multiplier not in PUBLISHED:
            raise ValueError(
                f"ImageNet weights require width_multiplier to be one of {', '.join(map(str, PUBLISHED))}. "
                f"Received: {self.width_multiplier}"
            )
        return self

    def __call__(self, image: keras.KerasTensor) -> Features:
        x = Normalize(self.normalize, name="normalize").for_channels(image.shape[-1])(image)
        x = keras.layers.Conv2D(self._filters(32), 3, 2, "same", use_bias=False, name="Conv1")(x)
        x = self._activated(x, "bn_Conv1", "Conv1_relu")
        stages, stride = [], 2
        for block in blocks(self.output_stride, self.dilation):
            expanded, depthwise, x = self._block(x, block)
            if block.stride == 2:
                stages.append(Stage(f"{block.prefix}expand_relu", stride, expanded))
            stride *= block.step
            if block.index == 2:
                stages.append(Stage(f"{block.prefix}depthwise_relu", stride, depthwise))
        return Features((*stages, Stage("block_16_project_BN", stride, x)))

    def _keras_arrays(self, weights: str | Path) -> Arrays:
        arguments = {"include_top": False, "alpha": self.width_multiplier, "input_shape": (224, 224, 3)}
        return arrays_of(classifier(keras.applications.MobileNetV2, weights, **arguments))

    def _block(self, x: keras.KerasTensor, block: Block) -> tuple[keras.KerasTensor, ...]:
        """Returns the expanded input of `block`, the output of its depthwise convolution, and its output."""
        before, name = x, block.prefix
        if block.expansion > 1:
            x = keras.layers.Conv2D(x.shape[-1] * block.expansion, 1, use_bias=False, name=f"{name}expand")(x)
            x = self._activated(x, f"{name}expand_BN", f"{name}expand_relu")
        expanded = x
        x = keras.layers.DepthwiseConv2D(
            3, block.step, "same", dilation_rate=block.rate, use_bias=False, name=f"{name}depthwise"
        )(x)
        depthwise = self._activated(x, f"{name}depthwise_BN", f"{name}depthwise_relu")
        x = keras.layers.Conv2D(self._filters(block.filters), 1, use_bias=False, name=f"{name}project")(depthwise)
        x = normalized(x, f"{name}project_BN")
        if block.stride == 1 and x.shape[-1] == before.shape[-1]:
            x = keras.layers.Add(name=f"{name}add")([before, x])
        return expanded, depthwise, x

    def _activated(self, x: keras.KerasTensor, norm: str, relu: str) -> keras.KerasTensor:
        return keras.layers.ReLU(6.0, name=relu)(normalized(x, norm))

    def _filters(self, filters: int) -> int:
        """Returns `width_multiplier * filters`, rounded to a multiple of `divisor` without losing more than 10 %."""
        scaled, divisor = filters * self.width_multiplier, self.divisor
        rounded = max(8, int(scaled + divisor / 2) // divisor * divisor)
        return rounded + divisor if rounded < 0.9 * scaled else rounded
