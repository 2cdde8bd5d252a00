"""A small net of residual stages: minutes on two CPU cores, seconds in a test."""

from typing import Annotated, Literal

import keras
from pydantic import Field

from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.layers import AtrousConv2D, Normalize
from tfseg.layers.norm import normalized
from tfseg.ops.geometry import dilate
from tfseg.spec.declare import Location, spec

STAGES = 5


@spec
class SmallCnn(Backbone):
    """Five stages, each a 3x3 convolution that halves the map and a residual one, with BatchNorm and ReLU.

    Stages are `stage1` (stride 2) to `stage5`, with `filters` filters at first, doubling up to eight times as many.
    """

    type: Literal["small_cnn"] = "small_cnn"
    filters: Annotated[int, Field(ge=1)] = 16
    """Channels of the first stage."""
    output_stride: Literal[8, 16, 32] = 16
    """Image pixels between two places of the deepest stage; below 32, stages dilate instead of halving the map."""
    weights: Location | None = None
    """A file to start from: `.npz` (`layer/variable`), a `.keras` model that has these layers, or whatever else
    `tfseg import` reads."""

    def __call__(self, image: keras.KerasTensor) -> Features:
        x = Normalize("tf", name="normalize")(image)
        stages, stride = [], 1
        for index, (step, rate) in enumerate(dilate((2,) * STAGES, self.output_stride)):
            stride *= step
            x = self._stage(x, f"stage{index + 1}", self.filters * 2 ** min(index, 3), step, rate)
            stages.append(Stage(f"stage{index + 1}", stride, x))
        return Features(tuple(stages))

    def _stage(self, x: keras.KerasTensor, name: str, filters: int, step: int, rate: int) -> keras.KerasTensor:
        x = shortcut = self._conv(x, f"{name}_down", filters, step, rate)
        x = self._conv(x, f"{name}_mix", filters, 1, rate * 2 // step, relu=False)  # behind a stride that was given up
        return keras.layers.ReLU(name=name)(keras.layers.Add(name=f"{name}_add")([x, shortcut]))

    def _conv(
        self, x: keras.KerasTensor, name: str, filters: int, step: int, rate: int, relu: bool = True
    ) -> keras.KerasTensor:
        x = AtrousConv2D(filters, 3, step, "same", dilation_rate=rate, use_bias=False, name=name)(x)
        x = normalized(x, f"{name}_bn")
        return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x
