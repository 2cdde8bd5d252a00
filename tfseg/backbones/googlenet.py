"""GoogLeNet without its classifiers."""

from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.backbones.pooling import max_pool_stride_1, max_pool_stride_2
from tfseg.layers import (
    AtrousConv2D,
    CaffeAveragePooling2D,
    CaffeMaxPooling2D,
    LocalResponseNormalization,
    Normalize,
    PadToSize,
)  # fmt: skip
from tfseg.ops.geometry import dilate
from tfseg.spec.declare import Location, spec
from tfseg.spec.problems import InvalidFields

STEM = (("conv1_7x7_s2", 64, 7), ("conv2_3x3_reduce", 64, 1), ("conv2_3x3", 192, 3))
BRANCHES = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
"""Number of filters of the six convolutions of each inception module, in the order of `BRANCHES`."""


@spec
class GoogLeNet(Backbone):
    """GoogLeNet (Szegedy et al. 2015, table 1) up to inception module 5b, as in BVLC's prototxt.

    The authors of FCN did not release FCN-GoogLeNet; this follows the description in their paper. Layers are named as
    in the prototxt, with `_` for `/`. Stages are `conv1_7x7_s2` (stride 2), `conv2_3x3` (4), `inception_3b_output` (8),
    `inception_4e_output` (16) and `pool5_drop_7x7_s1` (32). Three-channel images are read as RGB and converted to BGR
    minus Caffe's means; other images are scaled to -1..1.
    """

    type: Literal["googlenet"] = "googlenet"
    form: Literal["original", "same"] = "same"
    """`original`: the first layer pads by 100, pools of stride 2 do not pad, and scores are cropped. `same`: every
    layer pads just enough for its feature map to cover the image."""
    width_multiplier: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor on the number of filters of every layer; 1 gives 6 million parameters."""
    output_stride: Literal[8, 16, 32] = 32
    """Ratio of input to feature resolution; below 32, strides of deeper layers are replaced by dilation."""
    average_pool: bool = False
    """Keep the final 7x7 average pool, with stride 1. Shelhamer et al. state that it was removed, but only
    networks with this pool have the receptive field of 907 pixels that their paper gives."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """Dropout rate after the last inception module."""
    weights: Location | None = None
    """Path of a weight file to start from: `.npz` (`layer/variable`), a `.keras` model with these layers, or any other
    file that `tfseg import` reads."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        cause = "with form original" if self._padded else "with average_pool" if self.average_pool else None
        if cause is not None and self.output_stride < 32:
            change = "form to same" if self._padded else "average_pool to false"
            received = f"Received: {self.output_stride}"
            raise InvalidFields((("output_stride",), f"must be 32 {cause}; set {change} for other strides. {received}"))
        return self

    @property
    def _padded(self) -> bool:
        return self.form == "original"

    def __call__(self, image: keras.KerasTensor) -> Features:
        _, pool1, pool2, pool3, pool4, end = dilate((2, 2, 2, 2, 2, 1), self.output_stride)
        x = Normalize("caffe", name="normalize").for_channels(image.shape[-1])(image)
        x = self._conv(x, *STEM[0], step=2, padding=100 if self._padded else 3)
        stages = [Stage("conv1_7x7_s2", 2, x)]
        x = LocalResponseNormalization(name="pool1_norm1")(self._pool(x, "pool1_3x3_s2", pool1))
        x = self._conv(self._conv(x, *STEM[1]), *STEM[2])
        stages.append(Stage("conv2_3x3", 4, x))
        x = self._pool(LocalResponseNormalization(name="conv2_norm2")(x), "pool2_3x3_s2", pool2)
        x = self._inceptions(x, ("3a", "3b"), 1)
        stages.append(Stage("inception_3b_output", 8, x))
        x = self._inceptions(self._pool(x, "pool3_3x3_s2", pool3), ("4a", "4b", "4c", "4d", "4e"), pool4[1])
        stages.append(Stage("inception_4e_output", 8 * pool3[0], x))
        x = self._inceptions(self._pool(x, "pool4_3x3_s2", pool4), ("5a", "5b"), end[1])
        x = keras.layers.Dropout(self.dropout, name="pool5_drop_7x7_s1")(self._averaged(x))
        return Features((*stages, Stage("pool5_drop_7x7_s1", 8 * pool3[0] * pool4[0], x)), form=self.form)

    def _inceptions(self, x: keras.KerasTensor, names: tuple[str, ...], rate: int) -> keras.KerasTensor:
        for name in names:
            x = self._inception(x, f"inception_{name}", dict(zip(BRANCHES, INCEPTIONS[name], strict=True)), rate)
        return x

    def _inception(self, x: keras.KerasTensor, name: str, filters: dict[str, int], rate: int) -> keras.KerasTensor:
        def conv(x: keras.KerasTensor, branch: str, size: int = 1) -> keras.KerasTensor:
            return self._conv(x, f"{name}_{branch}", filters[branch], size, rate=rate)

        branches = [
            conv(x, "1x1"),
            conv(conv(x, "3x3_reduce"), "3x3", 3),
            conv(conv(x, "5x5_reduce"), "5x5", 5),
            conv(max_pool_stride_1(x, f"{name}_pool", rate), "pool_proj"),
        ]
        return keras.layers.Concatenate(name=f"{name}_output")(branches)

    def _averaged(self, x: keras.KerasTensor) -> keras.KerasTensor:
        if not self.average_pool:
            return x
        if self._padded:
            x = PadToSize(7, name="pool5_pad")(x)  # at image sizes up to 28, the feature map is 6x6
        return CaffeAveragePooling2D(7, 1, 0 if self._padded else 3, name="pool5_7x7_s1")(x)

    def _pool(self, x: keras.KerasTensor, name: str, plan: tuple[int, int]) -> keras.KerasTensor:
        return CaffeMaxPooling2D(3, 2, name=name)(x) if self._padded else max_pool_stride_2(x, name, *plan)

    def _conv(
        self,
        x: keras.KerasTensor,
        name: str,
        filters: int,
        size: int,
        step: int = 1,
        rate: int = 1,
        padding: int | None = None,
    ) -> keras.KerasTensor:
        padding = rate * (size - 1) // 2 if padding is None else padding
        return AtrousConv2D(
            max(1, round(filters * self.width_multiplier)), size, step, padding, dilation_rate=rate if size > 1 else 1,
            activation="relu", kernel_initializer="he_normal", name=name,
        )(x)  # fmt: skip
