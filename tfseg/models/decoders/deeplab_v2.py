"""DeepLab v2: atrous spatial pyramid pooling, parallel classifiers whose scores are summed."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.backbones.features import Features
from tfseg.context import Context
from tfseg.layers import ParallelAtrousClassifier
from tfseg.models.backbone_features import needs_crop_problems
from tfseg.models.crops import rates_problems
from tfseg.models.decoders.decoder import Decoder
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem


@spec
class DeepLabV2(Decoder):
    """DeepLab v2 (Chen et al. 2018, section 3.2): parallel atrous classifiers of the deepest stage, summed.

    On VGG16, each branch replaces `fc6` to `fc8`: set `filters` to 1024 and `model.backbone.fc` to null. On ResNet,
    each branch is one convolution.
    """

    type: Literal["deeplab_v2"] = "deeplab_v2"
    STRIDE_DEPENDENT: ClassVar[tuple[str, ...]] = ("rates",)
    rates: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (6, 12, 18, 24)
    """Dilation rates of the branches' 3x3 convolutions: [6, 12, 18, 24] is ASPP-L, [2, 4, 8, 12] ASPP-S, [12]
    LargeFOV."""
    filters: Annotated[int, Field(ge=1)] | None = None
    """Number of filters of the two hidden layers of each branch, as on VGG16; null for no hidden layers."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout rate after each hidden layer."""

    @property
    def head(self) -> Literal["interp"]:
        """Name of the head that resizes the scores to the image size."""
        return "interp"

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities of `features` with the decoder, as pairs `(path, message)`."""
        yield from needs_crop_problems(features)
        yield from rates_problems(self.rates, context.crop, features.output_stride)

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        classifier = ParallelAtrousClassifier(classes, self.rates, self.filters, self.dropout, name="aspp")
        return classifier(features.deepest.tensor)
