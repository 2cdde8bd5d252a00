"""VGG16 with its fully connected layers as convolutions, in the forms of several segmentation networks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.applications import classifier
from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.backbones.vgg_forms import FORMS, convolution, pool, preprocessed
from tfseg.layers import CaffeAveragePooling2D, MaxPoolingWithArgmax2D, McDropout
from tfseg.layers.norm import normalized
from tfseg.ops.geometry import dilate
from tfseg.spec.declare import Location, spec
from tfseg.spec.problems import FieldProblem, InvalidFields
from tfseg.weights import Arrays, arrays_of

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
"""Number of convolutions and of filters of each block."""
MC_RATE = 0.5
"""Rate of Monte Carlo dropout in the release of Bayesian SegNet."""
CENTRAL = (3, 4)
"""Blocks followed by Monte Carlo dropout with `mc_dropout: central`."""


@spec
class FullyConnected:
    """Convolutions `fc6` and `fc7`, converted from the fully connected layers of the classifier.

    In DeepLab: kernel size 7 and rate 4; kernel size 4 and rate 4 (field of view 128) or 8 (224); or, as LargeFOV,
    kernel size 3, rate 12 and 1024 filters.
    """

    kernel_size: Annotated[int, Field(ge=1, le=7)] = 7
    """Height and width of the kernel of `fc6`."""
    dilation_rate: Annotated[int, Field(ge=1)] | None = None
    """Dilation rate of `fc6` at output stride 32 in the forms `original` and `same`, and at output stride 8 in the
    others. Null: 1 at output stride 32 and 4 at output stride 8, so that taps are 32 pixels apart."""
    filters: Annotated[int, Field(ge=1)] = 4096
    """Number of filters of `fc6` and `fc7`, before `width_multiplier`."""


@spec
class Vgg16(Backbone):
    """VGG16 (Simonyan & Zisserman 2015, configuration D) with fully connected layers as convolutions.

    Layers are named as in the authors' prototxts. Stages are `pool1` (stride 2) to `pool5` and `fc7`. The form
    `deeplab` adds `data`, the preprocessed pixels; the form `dilation`, which has no pools after `pool3`, has `conv4_3`
    and `conv5_3` instead. Three-channel images are read as RGB and converted to BGR minus the mean that the form was
    trained with; other images are scaled to -1..1.
    """

    type: Literal["vgg16"] = "vgg16"
    form: Literal["original", "same", "deeplab", "dilation"] = "same"
    """`original` (FCN): the first layer pads by 100, `fc6` does not pad, and scores are cropped. `same`: every layer
    pads just enough for its feature map to cover the image; the same weights compute the same values at every output
    stride. `deeplab`: 3x3 pools, the last two with stride 1. `dilation`: the image is mirrored at its borders, and
    convolutions do not pad."""
    output_stride: Literal[8, 16, 32] = 32
    """Ratio of input to feature resolution: 32 in `original`, any in `same`, 8 in the others."""
    width_multiplier: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor on the number of filters of every layer; 1 gives 134 million parameters."""
    pool5a: bool = False
    """3x3 average pooling after `pool5`, as in DeepLab v1 with LargeFOV; only in the form `deeplab`."""
    fc: FullyConnected | None = FullyConnected()
    """Layers after the last pool; null removes them."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout rate after `fc6` and `fc7`."""
    batch_norm: bool = False
    """Normalize between every convolution and its ReLU, as in DeconvNet and SegNet."""
    shift: float = 0.0
    """Initial value of beta of the normalization layers; 0.001 in DeconvNet."""
    indices: bool = False
    """Compute the argmax indices of the pools, for decoders that unpool."""
    mc_dropout: Literal["all", "central"] | None = None
    """Monte Carlo dropout, which is active at inference too, as in Bayesian SegNet. `all`: before every pool (VOC).
    `central`: after `pool3` and `pool4` (CamVid)."""
    weights: Literal["imagenet"] | Location | None = None
    """`imagenet` (downloaded by Keras when training starts), or the path of a weight file: `.h5` of
    `keras.applications` with top, `.npz` (`layer/variable`), a `.keras` model with these layers, such as FCN-32s for
    FCN-16s, or any other file that `tfseg import` reads. If `fc6` and `fc7` are smaller than in the file, kernels are
    subsampled and filters are chosen at random."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := list(self._own_problems()):
            raise InvalidFields(*problems)
        return self

    def _own_problems(self) -> Iterator[FieldProblem]:
        if self.weights == "imagenet" and self.width_multiplier != 1.0:
            yield (
                ("weights",),
                f"ImageNet weights require width_multiplier 1.0. Received: {self.width_multiplier}",
            )
        if self.output_stride not in FORMS[self.form].output_strides:
            strides = " or ".join(map(str, FORMS[self.form].output_strides))
            yield ("output_stride",), f"must be {strides} with form {self.form}. Received: {self.output_stride}"
        if self.pool5a and self.form != "deeplab":
            yield (
                ("pool5a",),
                f"requires form deeplab. Set form to deeplab, or pool5a to false. Received: true, form={self.form}",
            )
        if self.indices and (self.form not in ("original", "same") or self.output_stride != 32):
            yield (
                ("indices",),
                "argmax indices require pools of stride 2: set form to original or same, and output_stride to 32. "
                f"Received: true, form={self.form}, output_stride={self.output_stride}",
            )
        if self.fc is not None and (self.fc.kernel_size - 1) * self._fc_rate % 2:
            yield (
                (
                    "fc",
                    "dilation_rate",
                ),
                f"must be even if kernel_size is even, so that the window is centered on a position. "
                f"Received: kernel_size={self.fc.kernel_size}, dilation_rate={self._fc_rate}",
            )

    @property
    def _fc_rate(self) -> int:
        """Dilation rate of `fc6` at the largest output stride of the form."""
        return FORMS[self.form].rate if self.fc is None or self.fc.dilation_rate is None else self.fc.dilation_rate

    def __call__(self, image: keras.KerasTensor) -> Features:
        x = preprocessed(image, self.form)
        stages, stride = [Stage("data", 1, x)] if self.form == "deeplab" else [], 1
        plan = dilate((2,) * len(BLOCKS), self.output_stride)
        for block, ((count, filters), (step, rate)) in enumerate(zip(BLOCKS, plan, strict=True), start=1):
            for conv in range(count):
                x = self._conv(x, filters, 3, rate, f"{block}_{conv + 1}")
            stride *= step
            stages.append(self._stage(self._dropped(x, "all", block), block, stride, step, rate))
            x = self._dropped(stages[-1].tensor, "central", block)
        if self.pool5a:
            x = CaffeAveragePooling2D(3, 1, padding=1, name="pool5a")(x)
            stages[-1] = Stage("pool5a", stride, x)
        if self.fc is not None:
            stages.append(Stage("fc7", stride, self._fully_connected(x, self.fc)))
        return Features(tuple(stages), form=self.form)

    def _keras_arrays(self, weights: str | Path) -> Arrays:
        return arrays_of(classifier(keras.applications.VGG16, weights))

    def _fully_connected(self, x: keras.KerasTensor, fc: FullyConnected) -> keras.KerasTensor:
        rate = self._fc_rate * max(FORMS[self.form].output_strides) // self.output_stride
        x = self._conv(x, fc.filters, fc.kernel_size, rate, "6", "fc")
        x = keras.layers.Dropout(self.dropout, name="drop6")(x)
        x = self._conv(x, fc.filters, 1, 1, "7", "fc")
        return keras.layers.Dropout(self.dropout, name="drop7")(x)

    def _conv(
        self, x: keras.KerasTensor, filters: int, size: int, rate: int, number: str, prefix: str = "conv"
    ) -> keras.KerasTensor:
        """Applies a convolution and a ReLU, as one layer unless BatchNorm comes between them."""
        name, scaled = prefix + number, max(1, round(filters * self.width_multiplier))
        x = convolution(self.form, scaled, size, rate, None if self.batch_norm else "relu", name)(x)
        if not self.batch_norm:
            return x
        x = normalized(x, f"{name}_bn", beta_initializer=keras.initializers.Constant(self.shift))
        return keras.layers.ReLU(name=f"relu{number}")(x)

    def _dropped(self, x: keras.KerasTensor, where: str, block: int) -> keras.KerasTensor:
        """Applies Monte Carlo dropout if `mc_dropout` selects this position."""
        if self.mc_dropout != where or (where == "central" and block not in CENTRAL):
            return x
        return McDropout(MC_RATE, name=f"pool{block}_drop")(x)

    def _stage(self, x: keras.KerasTensor, block: int, stride: int, step: int, rate: int) -> Stage:
        name = f"pool{block}"
        if self.indices:  # for 2x2 windows of stride 2, `same` rounds up as Caffe does
            pooled, indices = MaxPoolingWithArgmax2D(2, 2, "same", name=name)(x)
            return Stage(name, stride, pooled, indices, x)
        layer = pool(self.form, step, rate, name)
        return Stage(f"conv{block}_3", stride, x) if layer is None else Stage(name, stride, layer(x), source=x)
