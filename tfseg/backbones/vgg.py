"""VGG16, its fully connected layers as convolutions: in the forms that segmentation nets gave it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.applications import classifier, imagenet_problems
from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.backbones.vgg_forms import FORMS, convolution, entered, pool
from tfseg.context import Context
from tfseg.layers import CaffeAveragePooling2D, MaxPoolingWithArgmax2D, McDropout
from tfseg.layers.norm import normalized
from tfseg.ops.geometry import dilate
from tfseg.spec.declare import Location, spec
from tfseg.spec.problems import FieldProblem, InvalidFields
from tfseg.weights import Arrays, arrays_of

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
"""Convolutions and channels of each block."""
MC_RATE = 0.5
"""Of Monte Carlo dropout, as Bayesian SegNet was released."""
CENTRAL = (3, 4)
"""Blocks after which it stands in the `central` form."""


@spec
class FullyConnected:
    """The convolutions `fc6` and `fc7`, that were the classifier's fully connected layers.

    DeepLab: kernel size 7 and rate 4; kernel size 4 and rate 4 (field of view 128) or 8 (224); LargeFOV has 3, 12 and
    1024 filters.
    """

    kernel_size: Annotated[int, Field(ge=1, le=7)] = 7
    """Height and width of `fc6`."""
    dilation_rate: Annotated[int, Field(ge=1)] | None = None
    """Places between two taps of `fc6`, at output stride 32 in the forms `original` and `same`, 8 in the others; null:
    1 and 4, so that taps lie 32 pixels apart."""
    filters: Annotated[int, Field(ge=1)] = 4096
    """Channels of `fc6` and `fc7`, before `width_multiplier`."""


@spec
class Vgg16(Backbone):
    """VGG16 (Simonyan & Zisserman 2015, configuration D) as segmentation nets use it.

    Layers are named as in the authors' prototxts. Stages are `pool1` (stride 2) to `pool5` and `fc7`; in the form
    `deeplab` also `data`, the pixels themselves; in the form `dilation`, which has no later pools, `conv4_3` and
    `conv5_3` after `pool3`. Three channels are taken as RGB and become BGR less the mean that the form was trained
    with; other images are scaled to -1..1.
    """

    type: Literal["vgg16"] = "vgg16"
    form: Literal["original", "same", "deeplab", "dilation"] = "same"
    """`original` (FCN): the first layer pads by 100, `fc6` does not pad, scores are cropped. `same`: every layer pads
    so that its map covers the image, no more; one set of weights computes the same at every output stride. `deeplab`:
    3x3 pools, the last two without stride. `dilation`: the image is mirrored at its borders, no convolution pads."""
    output_stride: Literal[8, 16, 32] = 32
    """Image pixels between two places of the deepest stage: 32 in `original`, any in `same`, 8 in the others."""
    width_multiplier: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor of every layer's channels; 1 is 134 million parameters."""
    pool5a: bool = False
    """Average over 3x3 places after `pool5`, as DeepLab v1 with LargeFOV does; only in the form `deeplab`."""
    fc: FullyConnected | None = FullyConnected()
    """The layers after the last pool; null ends there."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of units left out after `fc6` and `fc7` in training."""
    batch_norm: bool = False
    """Normalize between every convolution and its ReLU, as DeconvNet and SegNet do."""
    shift: float = 0.0
    """What beta of a normalization starts from; 0.001 in DeconvNet."""
    indices: bool = False
    """Pools keep where they found their maxima, for decoders that unpool."""
    mc_dropout: Literal["all", "central"] | None = None
    """Dropout that stays on when the net predicts, as Bayesian SegNet has it: before `all` pools (VOC), or after
    `pool3` and `pool4` (`central`, CamVid)."""
    weights: Literal["imagenet"] | Location | None = None
    """`imagenet` (fetched by Keras when training starts), or a file: `.h5` of `keras.applications` with top, `.npz`
    (`layer/variable`), a `.keras` model that has these layers, such as FCN-32s for FCN-16s, or whatever else
    `tfseg import` reads. Where `fc6` and `fc7` are smaller than the file's, every so-manieth tap and a random choice
    of filters is taken."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := list(self._own_problems()):
            raise InvalidFields(*problems)
        return self

    def _own_problems(self) -> Iterator[FieldProblem]:
        if self.weights == "imagenet" and self.width_multiplier != 1.0:
            yield ("weights",), f"ImageNet weights exist for width_multiplier 1.0, not for {self.width_multiplier}"
        if self.output_stride not in FORMS[self.form].output_strides:
            strides = " or ".join(map(str, FORMS[self.form].output_strides))
            yield ("output_stride",), f"must be {strides} in the form {self.form}. Received: {self.output_stride}"
        if self.pool5a and self.form != "deeplab":
            yield ("pool5a",), f"belongs to the form deeplab; in the form {self.form} set it to false. Received: true"
        if self.indices and (self.form not in ("original", "same") or self.output_stride != 32):
            yield (
                ("indices",),
                "places are kept by pools that halve the map: set form to original or same, and output_stride to 32. "
                f"Received: true, form={self.form}, output_stride={self.output_stride}",
            )
        if self.fc is not None and (self.fc.kernel_size - 1) * self._fc_rate % 2:
            yield (
                (
                    "fc",
                    "dilation_rate",
                ),
                f"with an even kernel_size it must be even, or no place lies in the middle of the window. "
                f"Received: kernel_size={self.fc.kernel_size}, dilation_rate={self._fc_rate}",
            )

    @property
    def _fc_rate(self) -> int:
        """Of `fc6`, at the greatest output stride of the form."""
        return FORMS[self.form].rate if self.fc is None or self.fc.dilation_rate is None else self.fc.dilation_rate

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from reading the images of the context, each as (path, message)."""
        yield from imagenet_problems(self.weights, context.channels)

    def __call__(self, image: keras.KerasTensor) -> Features:
        x = entered(image, self.form)
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
        """A convolution and its ReLU, within one layer unless BatchNorm stands between them."""
        name, scaled = prefix + number, max(1, round(filters * self.width_multiplier))
        x = convolution(self.form, scaled, size, rate, None if self.batch_norm else "relu", name)(x)
        if not self.batch_norm:
            return x
        x = normalized(x, f"{name}_bn", beta_initializer=keras.initializers.Constant(self.shift))
        return keras.layers.ReLU(name=f"relu{number}")(x)

    def _dropped(self, x: keras.KerasTensor, where: str, block: int) -> keras.KerasTensor:
        """With Monte Carlo dropout, if it stands here."""
        if self.mc_dropout != where or (where == "central" and block not in CENTRAL):
            return x
        return McDropout(MC_RATE, name=f"pool{block}_drop")(x)

    def _stage(self, x: keras.KerasTensor, block: int, stride: int, step: int, rate: int) -> Stage:
        name = f"pool{block}"
        if self.indices:  # 2x2 windows in steps of 2: what rounds up, as Caffe does, is `same`
            pooled, indices = MaxPoolingWithArgmax2D(2, 2, "same", name=name)(x)
            return Stage(name, stride, pooled, indices, x)
        layer = pool(self.form, step, rate, name)
        return Stage(f"conv{block}_3", stride, x) if layer is None else Stage(name, stride, layer(x), source=x)
