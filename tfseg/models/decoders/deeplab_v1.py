"""DeepLab v1: scores of dense atrous features, optionally with multi-scale features of shallow stages."""

from collections.abc import Iterator
from typing import Annotated, Literal

import keras
from pydantic import Field

from tfseg.backbones.features import Features, Stage
from tfseg.context import Context
from tfseg.layers import AtrousConv2D
from tfseg.models.backbone_features import needs_crop_problems
from tfseg.models.decoders.decoder import Decoder
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem

BRANCHES = ("data", "pool1", "pool2", "pool3", "pool4")
"""Stages of the multi-scale features."""
STRIDES = (1, 2, 4, 8)
"""Distinct strides of `BRANCHES`."""
STDDEVS = {"pool4_fc": 0.005}
"""Standard deviations of the kernel initializers of a branch's hidden convolutions, if not 0.001."""


@spec
class DeepLabV1(Decoder):
    """DeepLab v1 (Chen et al. 2015): a 1x1 convolution scores `fc7`, with small random initial weights.

    With `multi_scale` (MSc, section 4.3), two convolutions map the pixels and the outputs of the first four pools to
    the resolution of `fc7`, and their features contribute to the scores. Layers are named as in ports of the
    authors' MSc prototxt. (The multi-scale *inputs* of DeepLab v2 are `model.scales`.)
    """

    type: Literal["deeplab_v1"] = "deeplab_v1"
    multi_scale: bool = False
    """Scores the features of shallow stages too; requires `form: deeplab` of VGG16."""
    fusion: Literal["sum", "concatenation"] = "sum"
    """Fusion of multi-scale features. `sum`: the scores of all stages are summed, as released. `concatenation`: the
    concatenated features are scored, as in the paper; equivalent, with one bias per class rather than six."""
    filters: Annotated[int, Field(ge=1)] = 128
    """Number of filters of both convolutions on each shallow stage."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout rate after each convolution on a shallow stage."""

    @property
    def head(self) -> Literal["interp"]:
        """Name of the head that resizes the scores to the image size."""
        return "interp"

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities of `features` with the decoder, as pairs `(path, message)`."""
        yield from needs_crop_problems(features)
        if self.multi_scale and (set(STRIDES) - set(features.strides) or features.output_stride != STRIDES[-1]):
            strides = ", ".join(map(str, features.strides))
            yield (
                ("multi_scale",),
                f"requires the stages {', '.join(BRANCHES)} of strides 1 to 8, but {features.backbone} has strides "
                f"{strides}. Set model.backbone to vgg16 with form deeplab, or multi_scale to false. Received: true",
            )

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        fc7 = features.deepest.tensor
        if not self.multi_scale:
            return _score(fc7, "fc8", classes)
        branches = {name: self._branch(features.stage(name), features.deepest.stride) for name in BRANCHES}
        if self.fusion == "concatenation":
            return _score(keras.layers.Concatenate(name="fc_fusion")([*branches.values(), fc7]), "fc8", classes)
        scores = [_score(branch, f"{name}_ms", classes) for name, branch in branches.items()]
        return keras.layers.Add(name="fc_fusion")([*scores, _score(fc7, "fc8", classes)])

    def _branch(self, stage: Stage, stride: int) -> keras.KerasTensor:
        """Applies two convolutions, the first of which reduces the stage to the resolution of `fc7`."""
        x = self._hidden(stage.tensor, 3, stride // stage.stride, f"{stage.name}_conv")
        return self._hidden(x, 1, 1, f"{stage.name}_fc")

    def _hidden(self, x: keras.KerasTensor, size: int, strides: int, name: str) -> keras.KerasTensor:
        x = AtrousConv2D(
            self.filters,
            size,
            strides,
            padding=size // 2,
            activation="relu",
            kernel_initializer=keras.initializers.RandomNormal(stddev=STDDEVS.get(name, 0.001)),
            name=name,
        )(x)
        return keras.layers.Dropout(self.dropout, name=f"drop_{name}")(x)


def _score(x: keras.KerasTensor, name: str, classes: int) -> keras.KerasTensor:
    gaussian = keras.initializers.RandomNormal(stddev=0.01)
    return keras.layers.Conv2D(classes, 1, kernel_initializer=gaussian, name=name)(x)
