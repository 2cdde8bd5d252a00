"""DeepLab v3: atrous spatial pyramid pooling with image-level features."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.features import Features
from tfseg.context import Context
from tfseg.layers import AtrousSpatialPyramidPooling
from tfseg.layers.aspp import Order
from tfseg.layers.norm import chosen
from tfseg.models.backbone_features import needs_crop
from tfseg.models.crops import pool_problems, rates_problems
from tfseg.models.decoders.decoder import Decoder
from tfseg.models.outputs import Scores
from tfseg.spec.declare import spec
from tfseg.spec.derive import Arguments
from tfseg.spec.problems import FieldProblem, InvalidFields

EPSILON = 1e-5
"""Epsilon of BatchNorm in the authors' release; Model Garden has 1e-3, to be set in `model.norm`."""
PYRAMID = Arguments(AtrousSpatialPyramidPooling)
"""Descriptions and defaults of the pyramid's fields, unless the authors' release has other defaults."""
Side = Annotated[int, Field(ge=1)]


@spec
class DeepLabV3(Decoder):
    """DeepLab v3 (Chen et al. 2017, section 3.3): atrous spatial pyramid pooling and a 1x1 classifier.

    The defaults are those of the authors' TensorFlow release at output stride 16; at 8, the authors double the rates.
    Model Garden's networks have `order: pooling_last`, `align_corners: false` and `model.norm.epsilon: 1e-3`.
    """

    type: Literal["deeplab_v3"] = "deeplab_v3"
    STRIDE_DEPENDENT: ClassVar[tuple[str, ...]] = ("rates", "pool_size")
    rates: tuple[Annotated[int, Field(ge=1)], ...] = PYRAMID("rates")
    filters: Annotated[int, Field(ge=1)] = PYRAMID("filters")
    separable: bool = PYRAMID("separable")
    depthwise_norm: bool = PYRAMID("depthwise_norm")
    pool_size: Side | tuple[Side, Side] | None = PYRAMID("pool_size")
    order: Order = PYRAMID("order", "pooling_first")
    activation: Literal["relu", "swish"] = PYRAMID("activation")
    dropout: Annotated[float, Field(ge=0, lt=1)] = PYRAMID("dropout", 0.1)
    align_corners: bool = PYRAMID("align_corners", True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := list(self._own_problems()):
            raise InvalidFields(*problems)
        return self

    def _own_problems(self) -> Iterator[FieldProblem]:
        if not self.depthwise_norm and not (self.separable and self.rates):
            missing = "separable: true" if self.rates else "rates"
            yield ("depthwise_norm",), f"has no effect without {missing}. Received: false"

    @property
    def head(self) -> Literal["resize", "resize_corners"]:
        """Name of the head that resizes the scores to the image size: with aligned corners or half-pixel centers."""
        return "resize_corners" if self.align_corners else "resize"

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities of `features` with the decoder, as pairs `(path, message)`."""
        if needs_crop(features):
            problem = f"scores of {features.backbone} in this form extend beyond the image"
            yield (
                ("type",),
                f"{problem}, and {self.type} does not crop. Set model.backbone.form to same. Received: {self.type}",
            )
        yield from rates_problems(self.rates, context.crop, features.output_stride)
        yield from pool_problems(self.pool_size, context.crop, features.output_stride)

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> Scores:
        return self._score(self._pyramid(features), classes)

    def _pyramid(self, features: Features) -> keras.KerasTensor:
        arguments = {**PYRAMID.of(self), **chosen(epsilon=EPSILON)}
        return AtrousSpatialPyramidPooling(**arguments, name="aspp")(features.deepest.tensor)

    def _score(self, x: keras.KerasTensor, classes: int) -> Scores:
        small = keras.initializers.RandomNormal(stddev=0.01)
        return Scores(keras.layers.Conv2D(classes, 1, kernel_initializer=small, name="score")(x), features=x)
