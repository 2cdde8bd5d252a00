"""U-Net: features upsampled stride by stride and concatenated with those of the backbone."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.features import Features, Stage
from tfseg.context import Context
from tfseg.layers import CropLike
from tfseg.layers.norm import normalized
from tfseg.models.backbone_features import extends_beyond_image, needs_crop
from tfseg.models.decoders.decoder import Decoder
from tfseg.models.outputs import Scores
from tfseg.spec.declare import spec
from tfseg.spec.messages import listed
from tfseg.spec.problems import FieldProblem, InvalidFields


@spec
class Unet(Decoder):
    """U-Net's expansive path (Ronneberger, Fischer & Brox 2015, section 2), on the strides of any backbone.

    From the coarsest stride on, a transposed convolution without overlap ("up-convolution") upsamples the features to
    the next finer stride, they are concatenated with the backbone's features there, and two 3x3 convolutions follow. A
    1x1 convolution scores the finest features. With the backbone `contracting_path` it is the network of the paper:
    31,030,658 parameters for one channel and two classes.
    """

    type: Literal["unet"] = "unet"
    strides: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=2)] | None = None
    """Strides, coarsest first, as in [16, 8, 4]; null for all strides of the backbone."""
    filters: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] | None = None
    """Number of filters at each stride after the coarsest; null for the number of channels of the backbone there."""
    batch_norm: bool = False
    """Normalizes between convolution and ReLU, as set in `model.norm`; the paper does not."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.strides is not None and any(fine >= coarse or coarse % fine for coarse, fine in pairwise(self.strides)):
            message = "each stride must be a proper divisor of the one before, as in [16, 8, 4]"
            raise InvalidFields((("strides",), f"{message}. Received: {list(self.strides)}"))
        return self

    @property
    def head(self) -> Literal["resize"]:
        """Name of the head that resizes the scores to the image size; at stride 1 they already have that size."""
        return "resize"

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities of `features` with the decoder, as pairs `(path, message)`."""
        strides = self._strides(features.strides)
        if absent := [stride for stride in strides if stride not in features.strides]:
            yield ("strides",), f"{features}, not {listed(absent)}. Received: {list(strides)}"
        if self.filters is not None and len(self.filters) != len(strides) - 1:
            expected = f"expected {len(strides) - 1} numbers, one per stride after the first"
            yield ("filters",), f"{expected}. Received: {len(self.filters)}"
        if extends_beyond_image(features) or needs_crop(features):
            yield (
                (),
                f"a U-Net merges features without cropping, but those of {features.backbone} in its "
                f"{features.form or 'padded'} form extend beyond the image. Set model.backbone.form to same, or the "
                "decoder to fcn",
            )

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> Scores:
        stages = [features.at(stride) for stride in self._strides(features.strides)]
        x = stages[0].tensor
        for index, (coarse, fine) in enumerate(pairwise(stages)):
            filters = fine.tensor.shape[-1] if self.filters is None else self.filters[index]
            x = self._merged(x, fine, coarse.stride // fine.stride, filters)
        return Scores(keras.layers.Conv2D(classes, 1, name="score")(x), features=x)

    def _strides(self, available: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(reversed(available)) if self.strides is None else self.strides

    def _merged(self, x: keras.KerasTensor, skip: Stage, factor: int, filters: int) -> keras.KerasTensor:
        """Upsamples `x`, concatenates it with `skip`, and applies two convolutions."""
        name = skip.name
        x = keras.layers.Conv2DTranspose(filters, factor, factor, name=f"up_{name}")(x)
        x = CropLike(0, name=f"up_{name}c")([x, skip.tensor])  # sizes not divisible by factor were rounded up
        x = keras.layers.Concatenate(name=f"merge_{name}")([skip.tensor, x])
        for part in ("a", "b"):
            x = self._conv(x, filters, f"expand_{name}_{part}")
        return x

    def _conv(self, x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
        x = keras.layers.Conv2D(
            filters, 3, padding="same", use_bias=not self.batch_norm, kernel_initializer="he_normal", name=name
        )(x)
        if self.batch_norm:
            x = normalized(x, f"{name}_bn")
        return keras.layers.ReLU(name=f"{name}_relu")(x)
