"""AlexNet in the layer order of CaffeNet, with fully connected layers as convolutions."""

from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.backbones.pooling import max_pool_stride_2
from tfseg.layers import AtrousConv2D, CaffeMaxPooling2D, LocalResponseNormalization, Normalize
from tfseg.ops.geometry import dilate
from tfseg.spec.declare import Location, spec
from tfseg.spec.problems import InvalidFields

GROUPED = ("conv2", "conv4", "conv5")
"""Convolutions with two groups, one per GPU in the original."""


@spec
class AlexNet(Backbone):
    """AlexNet (Krizhevsky et al. 2012) with pooling before normalization, as in FCN-AlexNet (Shelhamer et al. 2016).

    Layers are named as in the authors' prototxt. Stages are `conv1` (stride 4), `pool1` (8), `pool2` (16), `pool5`
    (32) and `fc7` (32). Three-channel images are read as RGB and converted to BGR minus Caffe's means; other images are
    scaled to -1..1.
    """

    type: Literal["alexnet"] = "alexnet"
    form: Literal["original", "same"] = "same"
    """`original`: the first layer pads by 100, pools and `fc6` do not pad, and scores are cropped. `same`: every layer
    pads just enough for its feature map to cover the image."""
    width_multiplier: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor on the number of filters of every layer; 1 gives 57 million parameters."""
    output_stride: Literal[8, 16, 32] = 32
    """Ratio of input to feature resolution; below 32, strides of deeper layers are replaced by dilation."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout rate after `fc6` and `fc7`."""
    weights: Location | None = None
    """Path of a weight file to start from: `.npz` (`layer/variable`), a `.keras` model with these layers, or any other
    file that `tfseg import` reads."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self._padded and self.output_stride < 32:
            received = f"Received: {self.output_stride}"
            raise InvalidFields(
                (("output_stride",), f"must be 32 with form original; set form to same for other strides. {received}")
            )
        return self

    @property
    def _padded(self) -> bool:
        return self.form == "original"

    def __call__(self, image: keras.KerasTensor) -> Features:
        _, pool1, pool2, pool5, fc = dilate((4, 2, 2, 2, 1), self.output_stride)
        x = Normalize("caffe", name="normalize").for_channels(image.shape[-1])(image)
        x = self._conv(x, "conv1", 96, 11, step=4, padding=100 if self._padded else 5)
        stages = [Stage("conv1", 4, x)]
        x = self._pooled(x, "pool1", pool1, stages)
        x = self._conv(LocalResponseNormalization(name="norm1")(x), "conv2", 256, 5)
        x = self._pooled(x, "pool2", pool2, stages)
        x = LocalResponseNormalization(name="norm2")(x)
        for name, filters in (("conv3", 384), ("conv4", 384), ("conv5", 256)):
            x = self._conv(x, name, filters, 3, rate=pool5[1])
        x = self._pooled(x, "pool5", pool5, stages)
        return Features((*stages, Stage("fc7", stages[-1].stride, self._fully_connected(x, fc[1]))), form=self.form)

    def _fully_connected(self, x: keras.KerasTensor, rate: int) -> keras.KerasTensor:
        if not self._padded:  # even kernel: 2 taps before, 3 after; `same` would shift dilated ones
            x = keras.layers.ZeroPadding2D(((2 * rate, 3 * rate), (2 * rate, 3 * rate)), name="fc6_pad")(x)
        x = self._conv(x, "fc6", 4096, 6, rate=rate, padding=0)
        x = keras.layers.Dropout(self.dropout, name="drop6")(x)
        return keras.layers.Dropout(self.dropout, name="drop7")(self._conv(x, "fc7", 4096, 1))

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
        groups = 2 if name in GROUPED else 1
        padding = rate * (size - 1) // 2 if padding is None else padding
        return AtrousConv2D(
            2 * max(1, round(filters * self.width_multiplier / 2)), size, step, padding, dilation_rate=rate,
            groups=groups, activation="relu", kernel_initializer="he_normal", name=name,
        )(x)  # fmt: skip

    def _pooled(self, x: keras.KerasTensor, name: str, plan: tuple[int, int], stages: list[Stage]) -> keras.KerasTensor:
        """Applies the pool `name` to `x` and appends the result to `stages`."""
        x = CaffeMaxPooling2D(3, 2, name=name)(x) if self._padded else max_pool_stride_2(x, name, *plan)
        stages.append(Stage(name, stages[-1].stride * plan[0], x))
        return x
