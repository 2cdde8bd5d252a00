"""Custom backbone, decoder, head and refinement."""

from typing import Annotated, Literal

import keras
from pydantic import Field

from tfseg.backbones.features import Features, Stage
from tfseg.layers import CropLike, Normalize
from tfseg.spec import spec


@spec
class TwoStages:
    """Two 3x3 convolutions of stride 2."""

    type: Literal["two_stages"] = "two_stages"
    width: Annotated[int, Field(ge=1)] = 8
    """Number of filters of the first convolution."""

    def __call__(self, image: keras.KerasTensor) -> Features:
        x, stages = Normalize("tf", name="normalize")(image), []
        for index in (1, 2):
            conv = keras.layers.Conv2D(index * self.width, 3, 2, "same", activation="relu", name=f"stage{index}")
            x = conv(x)
            stages.append(Stage(f"stage{index}", 2**index, x))
        return Features(tuple(stages))


@spec
class Linear:
    """1x1 convolution of the deepest stage to class scores."""

    type: Literal["linear"] = "linear"

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        return keras.layers.Conv2D(classes, 1, name="score")(features.deepest.tensor)


@spec
class Nearest:
    """Nearest-neighbor upsampling of the scores."""

    type: Literal["nearest"] = "nearest"

    def __call__(
        self, scores: keras.KerasTensor, seen: keras.KerasTensor, image: keras.KerasTensor, stride: int
    ) -> keras.KerasTensor:
        upsampled = keras.layers.UpSampling2D(stride, name="nearest", dtype="float32")(scores)
        return CropLike(0, name="cut", dtype="float32")([upsampled, image])


@spec
class Smoothed:
    """Average pooling of the logits with stride 1."""

    type: Literal["smoothed"] = "smoothed"
    size: Literal[3, 5] = 3
    """Height and width of the pooling window."""

    def __call__(self, logits: keras.KerasTensor, image: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.AveragePooling2D(self.size, 1, "same", name="smoothed", dtype="float32")(logits)
