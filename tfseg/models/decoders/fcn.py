"""Fully convolutional networks: scores at several strides, summed from coarse to fine."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.features import Features, Stage
from tfseg.context import Context
from tfseg.layers import BilinearConv2DTranspose, CropLike, FixedScale, ResizeLike
from tfseg.layers.norm import normalized
from tfseg.models.backbone_features import fixed_crop_problem, needs_crop, skip_problem
from tfseg.models.coordinates import coordinate_map, offset
from tfseg.models.decoders.decoder import Decoder
from tfseg.models.outputs import Scores
from tfseg.ops.geometry import deconv_map
from tfseg.spec.declare import spec
from tfseg.spec.messages import listed
from tfseg.spec.problems import FieldProblem, InvalidFields


@spec
class Fcn(Decoder):
    """FCN-32s, 16s, 8s and finer (Shelhamer, Long & Darrell 2016, section 4.3).

    A zero-initialized 1x1 convolution scores the deepest stage. Each finer stage adds its own scores, and the sum at
    the finest stage is upsampled to the image. With `filters`, features of that many channels are summed instead and
    scored once, at the finest stride: a light decoder for light backbones.
    """

    type: Literal["fcn"] = "fcn"
    strides: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (32, 16, 8)
    """Strides of the scored stages, coarsest first: (32, 16, 8) is FCN-8s, (32,) is FCN-32s."""
    upsampling: Literal["resize", "deconv"] = "resize"
    """Upsampling of the scores. `deconv`: bilinear transposed convolutions and crops, as released. `resize`: bilinear
    interpolation to the size of the next scores."""
    learned_upsampling: bool = False
    """Trains the transposed convolutions between strides (Long et al. 2015); the last one stays bilinear."""
    scales: tuple[float, ...] | None = None
    """Factors that scale the features of each finer stride before they are scored: (0.01, 0.0001) is for
    FCN-8s trained all at once."""
    filters: Annotated[int, Field(ge=1)] | None = None
    """Number of channels of the summed features; null to sum scores. Requires `upsampling: resize`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := list(self._own_problems()):
            raise InvalidFields(*problems)
        return self

    def _own_problems(self) -> Iterator[FieldProblem]:
        skips = len(self.strides) - 1
        if any(fine >= coarse or coarse % fine for coarse, fine in pairwise(self.strides)):
            received = f"Received: {list(self.strides)}"
            yield ("strides",), f"each stride must be a proper divisor of the one before, as in [32, 16, 8]. {received}"
        if self.scales is not None and len(self.scales) != skips:
            received = f"Received: {len(self.scales)}"
            yield ("scales",), f"expected {skips} factors, one per stride after the first. {received}"
        if self.filters is not None and self.upsampling == "deconv":
            yield (
                ("filters",),
                "requires upsampling resize, because transposed convolutions upsample scores only. Set upsampling to "
                f"resize, or filters to null. Received: {self.filters}",
            )
        if self.filters is not None and self.scales is not None:
            yield ("scales",), f"apply to scores only; with filters, set them to null. Received: {list(self.scales)}"
        if self.learned_upsampling and self.upsampling == "resize":
            yield ("learned_upsampling",), "resize has no weights to train; set upsampling to deconv. Received: true"

    @property
    def head(self) -> Literal["crop", "resize"]:
        """Name of the head that resizes or crops the scores to the image size."""
        return "crop" if self.upsampling == "deconv" else "resize"

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities of `features` with the decoder, as pairs `(path, message)`."""
        if absent := [stride for stride in self.strides if stride not in features.strides]:
            yield ("strides",), f"{features}, not {listed(absent)}. Received: {list(self.strides)}"
        if self.upsampling == "deconv" and (problem := fixed_crop_problem(features)) is not None:
            yield ("upsampling",), f"{problem}. Set upsampling to resize. Received: deconv"
        if self.upsampling == "resize" and needs_crop(features):
            yield (
                ("upsampling",),
                f"scores of {features.backbone} in its {features.form or 'padded'} form extend beyond the image and "
                "must be cropped, not resized. Set upsampling to deconv, or model.backbone.form to same. "
                "Received: resize",
            )
        merges = self.upsampling == "resize" and len(self.strides) > 1
        if merges and (problem := skip_problem(features)) is not None:
            yield ("strides",), f"{problem}, or strides to [{features.output_stride}]. Received: {list(self.strides)}"

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> Scores:
        stages = [features.at(stride) for stride in self.strides]
        if self.filters is not None:
            x = _pyramid(stages, self.filters)
            return Scores(_score(x, "score", classes), features=x)
        scores, name = _score(stages[0].tensor, "score_fr", classes), "upscore2"
        for index, stage in enumerate(stages[1:]):
            skip = _score(self._scaled(stage, index), f"score_{stage.name}", classes)
            both = self._aligned(scores, skip, self.strides[index] // stage.stride, (name, f"score_{stage.name}c"))
            scores, name = keras.layers.Add(name=f"fuse_{stage.name}")(both), f"upscore_{stage.name}"
        scores = scores if self.upsampling == "resize" else self._on_image_grid(scores, image, name)
        return Scores(scores, features=stages[0].tensor)

    def _scaled(self, stage: Stage, index: int) -> keras.KerasTensor:
        if self.scales is None:
            return stage.tensor
        return FixedScale(self.scales[index], name=f"scale_{stage.name}")(stage.tensor)

    def _aligned(
        self, scores: keras.KerasTensor, skip: keras.KerasTensor, factor: int, names: tuple[str, str]
    ) -> list[keras.KerasTensor]:
        """Returns `scores` upsampled by `factor`, and `skip`, aligned and of the same size."""
        if self.upsampling == "resize":
            return [ResizeLike(name=names[0])([scores, skip]), skip]
        upsampled = _bilinear(scores, factor, skip, names[0], self.learned_upsampling)
        before = offset(skip, upsampled)
        if before > 0:
            return [upsampled, CropLike(before, name=names[1])([skip, upsampled])]
        return [CropLike(-before, name=f"{names[0]}c")([upsampled, skip]), skip]  # with `same` padding, skip is smaller

    def _on_image_grid(self, scores: keras.KerasTensor, image: keras.KerasTensor, name: str) -> keras.KerasTensor:
        stride = self.strides[-1]
        if len(self.strides) == 1:
            name = "upscore"
        elif stride > 2:  # as released; upscore2 is the first one
            name = f"upscore{stride}"
        return _bilinear(scores, stride, image, name, trainable=False)


def _score(x: keras.KerasTensor, name: str, classes: int) -> keras.KerasTensor:
    """Scores `x` with zero-initialized weights, so that a new skip changes nothing at first (section 4.3)."""
    return keras.layers.Conv2D(classes, 1, kernel_initializer="zeros", name=name)(x)


def _bilinear(
    x: keras.KerasTensor, factor: int, reference: keras.KerasTensor, name: str, trainable: bool
) -> keras.KerasTensor:
    """Upsamples `x` by `factor`, aligned with `reference`.

    The kernel size is `2 * factor`, as released for VGG16, or one less if only that aligns the positions, as released
    for AlexNet.
    """
    deep, shift = coordinate_map(x), coordinate_map(reference).offset
    sizes = (2 * factor, 2 * factor - 1)
    fitting = [size for size in sizes if (deep.then(deconv_map(size, factor)).offset - shift).denominator == 1]
    size = fitting[0] if fitting else sizes[0]  # if none fits, the crop raises an error
    return BilinearConv2DTranspose(x.shape[-1], size, factor, trainable=trainable, name=name)(x)


def _pyramid(stages: list[Stage], filters: int) -> keras.KerasTensor:
    """Sums features of all `stages` from coarse to fine: 1x1 convolutions, upsampling, and 3x3 convolutions.

    The 3x3 convolutions are separable: a full one at the finest stride would cost as much as a light backbone.
    """
    x = None
    for stage in stages:
        lateral = _pointwise(stage.tensor, filters, f"lateral_{stage.name}")
        if x is not None:
            upsampled = ResizeLike(name=f"raise_{stage.name}")([x, lateral])
            lateral = keras.layers.Add(name=f"fuse_{stage.name}")([upsampled, lateral])
        name = f"smooth_{stage.name}"
        depthwise = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")
        x = _pointwise(_activated(depthwise(lateral), f"{name}_depthwise"), filters, name)
    return x


def _pointwise(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    return _activated(keras.layers.Conv2D(filters, 1, use_bias=False, name=name)(x), name)


def _activated(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU(name=f"{name}_relu")(normalized(x, f"{name}_bn"))
