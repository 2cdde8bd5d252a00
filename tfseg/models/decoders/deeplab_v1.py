"""DeepLab v1: scores on the hole algorithm's dense map, with or without those of shallow stages."""

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
"""The stages that multi-scale features come from."""
STRIDES = (1, 2, 4, 8)
"""Of those stages."""
DEVIATIONS = {"pool4_fc": 0.005}
"""Of the first weights of a branch's hidden convolutions, where it is not 0.001."""


@spec
class DeepLabV1(Decoder):
    """DeepLab v1 (Chen et al. 2015): a 1x1 convolution scores `fc7`; its first weights are small and random.

    With `multi_scale` (MSc, section 4.2), the pixels and the outputs of the first four pools are each seen by two
    convolutions that end on the map of `fc7`, and take part in the scores. Layers are named as in the authors' MSc
    prototxt. (The multi-scale *inputs* of DeepLab v2 are `model.scales`.)
    """

    type: Literal["deeplab_v1"] = "deeplab_v1"
    multi_scale: bool = False
    """Score the features of shallow stages too; needs the form `deeplab` of VGG16."""
    fusion: Literal["sum", "concatenation"] = "sum"
    """Of multi-scale features. `sum`: each stage scores, as released. `concatenation`: all are scored at once, as the
    paper says; the same functions, with one bias for each class rather than six."""
    filters: Annotated[int, Field(ge=1)] = 128
    """Of both convolutions on each shallow stage."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of units left out after each of them in training."""

    @property
    def head(self) -> Literal["interp"]:
        """How its scores come to the image's size."""
        return "interp"

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from scoring `features`, each as (path, message)."""
        yield from needs_crop_problems(features)
        if self.multi_scale and (set(STRIDES) - set(features.strides) or features.output_stride != STRIDES[-1]):
            strides = ", ".join(map(str, features.strides))
            yield (
                ("multi_scale",),
                f"it reads the stages {', '.join(BRANCHES)} of strides 1 to 8; this {features.backbone} has strides "
                f"{strides}. Set model.backbone to vgg16 in the form deeplab, or this to false. Received: true",
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
        """Two convolutions; the first steps from the stage's places to those of `fc7`."""
        x = self._hidden(stage.tensor, 3, stride // stage.stride, f"{stage.name}_conv")
        return self._hidden(x, 1, 1, f"{stage.name}_fc")

    def _hidden(self, x: keras.KerasTensor, size: int, step: int, name: str) -> keras.KerasTensor:
        x = AtrousConv2D(
            self.filters,
            size,
            step,
            padding=size // 2,
            activation="relu",
            kernel_initializer=keras.initializers.RandomNormal(stddev=DEVIATIONS.get(name, 0.001)),
            name=name,
        )(x)
        return keras.layers.Dropout(self.dropout, name=f"drop_{name}")(x)


def _score(x: keras.KerasTensor, name: str, classes: int) -> keras.KerasTensor:
    gaussian = keras.initializers.RandomNormal(stddev=0.01)
    return keras.layers.Conv2D(classes, 1, kernel_initializer=gaussian, name=name)(x)
