"""Small residual network that trains in minutes on two CPU cores."""

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
    """Small network of five stages, each of a strided and a residual 3x3 convolution with BatchNorm and ReLU.

    Stages are `stage1` (stride 2) to `stage5`. The number of filters starts at `filters` and doubles up to
    `8 * filters`.
    """

    type: Literal["small_cnn"] = "small_cnn"
    filters: Annotated[int, Field(ge=1)] = 16
    """Number of filters of the first stage."""
    output_stride: Literal[8, 16, 32] = 16
    """Ratio of input to feature resolution; below 32, strides of deeper layers are replaced by dilation."""
    weights: Location | None = None
    """Path of a weight file to start from: `.npz` (`layer/variable`), a `.keras` model with these layers, or any other
    file that `tfseg import` reads."""

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
        x = self._conv(x, f"{name}_mix", filters, 1, rate * 2 // step, relu=False)  # a removed stride doubles the rate
        return keras.layers.ReLU(name=name)(keras.layers.Add(name=f"{name}_add")([x, shortcut]))

    def _conv(
        self, x: keras.KerasTensor, name: str, filters: int, step: int, rate: int, relu: bool = True
    ) -> keras.KerasTensor:
        x = AtrousConv2D(filters, 3, step, "same", dilation_rate=rate, use_bias=False, name=name)(x)
        x = normalized(x, f"{name}_bn")
        return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x
