"""Dilation network: scores of a dense front end, and a context module of dilated convolutions."""

from collections.abc import Iterator
from typing import Annotated, Literal

import keras
from pydantic import Field

from tfseg.backbones.features import Features
from tfseg.context import Context
from tfseg.layers import BilinearConv2DTranspose, DilatedContext
from tfseg.models.backbone_features import fixed_crop_problem, needs_crop_problems
from tfseg.models.decoders.decoder import Decoder
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem


@spec
class Dilation(Decoder):
    """Dilation network (Yu & Koltun 2016): a 1x1 classifier of the deepest stage and an optional context module.

    Layers are named as in the authors' prototxts: `final`, and within the context `ctx_conv1_1` to `ctx_final`.
    """

    type: Literal["dilation"] = "dilation"
    context: Literal["basic", "large"] | None = None
    """Context module after the front end (table 1), initialized as the identity; null for none."""
    dilation_rates: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1, 1, 2, 4, 8, 16, 1)
    """Dilation rates of the context module's 3x3 convolutions. The default is for VOC and CamVid; Cityscapes has 32 and
    64 after 16, KITTI no 16."""
    padding: Literal["once", "same"] = "once"
    """Padding of the context module. `once`: zeros before its first convolution, as many as all convolutions remove
    (VOC). `same`: zeros before each convolution (Cityscapes)."""
    upsampling: Literal["zoom", "deconv"] = "zoom"
    """Bilinear, non-trainable upsampling. `zoom`: position i is on pixel i times the stride, as in the authors'
    training labels and in their `predict.py`, which interpolates probabilities rather than scores. `deconv`: the
    authors' transposed convolution, with each position at the center of its receptive field."""

    @property
    def head(self) -> Literal["zoom", "crop"]:
        """Name of the head that resizes or crops the scores to the image size."""
        return "zoom" if self.upsampling == "zoom" else "crop"

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities of `features` with the decoder, as pairs `(path, message)`."""
        yield from needs_crop_problems(features)
        if self.upsampling == "deconv" and (problem := fixed_crop_problem(features)) is not None:
            yield ("upsampling",), f"{problem}. Set upsampling to zoom. Received: deconv"

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        gaussian = keras.initializers.RandomNormal(stddev=0.001)
        scores = keras.layers.Conv2D(classes, 1, kernel_initializer=gaussian, name="final")(features.deepest.tensor)
        if self.context is not None:
            scores = DilatedContext(classes, self.context, self.dilation_rates, self.padding, name="context")(scores)
        if self.upsampling == "zoom":
            return scores
        stride = features.deepest.stride
        return BilinearConv2DTranspose(classes, 2 * stride, stride, name="upscore")(scores)
