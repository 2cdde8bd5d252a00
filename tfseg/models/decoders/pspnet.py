"""PSPNet: pyramid pooling of the deepest features."""

from collections.abc import Iterator
from typing import Annotated, Literal

import keras
from pydantic import Field

from tfseg.backbones.features import Features
from tfseg.context import Context
from tfseg.layers import PyramidPooling
from tfseg.layers.norm import chosen, normalized
from tfseg.models.backbone_features import needs_crop, skip_problem
from tfseg.models.decoders.decoder import Decoder
from tfseg.models.outputs import Scores
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem


@spec
class PspNet(Decoder):
    """PSPNet (Zhao et al. 2017): pyramid pooling over the deepest stage, a 3x3 convolution and a 1x1 classifier.

    In training, scores of the stage before the deepest one have an auxiliary loss (section 4: the input of the last
    stage of ResNet, at stride 16 before dilation).
    """

    type: Literal["pspnet"] = "pspnet"
    filters: Annotated[int, Field(ge=2)] = 512
    """Number of filters of each pyramid level and of the convolution after the pyramid; the auxiliary branch has
    half as many."""
    bins: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1, 2, 3, 6)
    """Bins per axis of each pyramid level."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout rate before the classifier."""
    auxiliary: bool = True
    """Scores the penultimate stage as well, for the training output `aux_stage`."""

    @property
    def head(self) -> Literal["resize_corners"]:
        """Name of the head that resizes the scores to the image size."""
        return "resize_corners"

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities of `features` with the decoder, as pairs `(path, message)`."""
        if needs_crop(features):
            yield (
                (),
                f"scores of {features.backbone} in its {features.form or 'padded'} form extend beyond the image and "
                "must be cropped, not resized. Set model.backbone.form to same, or the decoder to fcn",
            )
        if self.auxiliary and (problem := skip_problem(features)) is not None:
            yield ("auxiliary",), f"{problem}, or auxiliary to false. Received: true"

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> Scores:
        x = features.deepest.tensor
        x = PyramidPooling(self.filters, self.bins, **chosen(), name="pyramid")(x)
        scores = self._scored(x, self.filters, "", classes)
        if not self.auxiliary:
            return scores
        before = self._scored(features.stages[-2].tensor, self.filters // 2, "aux_", classes)
        return Scores(scores.main, {"stage": before.main}, scores.features)

    def _scored(self, x: keras.KerasTensor, filters: int, prefix: str, classes: int) -> Scores:
        name = f"{prefix}conv"
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
        x = keras.layers.ReLU(name=f"{name}_relu")(normalized(x, f"{name}_bn"))
        x = keras.layers.Dropout(self.dropout, name=f"{prefix}drop")(x)
        return Scores(keras.layers.Conv2D(classes, 1, name=f"{prefix}score")(x), features=x)
