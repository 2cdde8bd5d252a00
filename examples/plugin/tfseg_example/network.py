"""The parts of a network."""

from typing import Annotated, Literal

import keras
from pydantic import Field

from tfseg.backbones.features import Features, Stage
from tfseg.layers import CropLike, Normalize
from tfseg.spec import spec


@spec
class TwoStages:
    """Two convolutions, each of which halves the map."""

    type: Literal["two_stages"] = "two_stages"
    width: Annotated[int, Field(ge=1)] = 8
    """Channels of the first."""

    def __call__(self, image: keras.KerasTensor) -> Features:
        x, stages = Normalize("tf", name="normalize")(image), []
        for index in (1, 2):
            conv = keras.layers.Conv2D(index * self.width, 3, 2, "same", activation="relu", name=f"stage{index}")
            x = conv(x)
            stages.append(Stage(f"stage{index}", 2**index, x))
        return Features(tuple(stages))


@spec
class Linear:
    """One score for each class, of the deepest stage alone."""

    type: Literal["linear"] = "linear"

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        return keras.layers.Conv2D(classes, 1, name="score")(features.deepest.tensor)


@spec
class Nearest:
    """Every pixel gets the scores of the position that it belongs to."""

    type: Literal["nearest"] = "nearest"

    def __call__(
        self, scores: keras.KerasTensor, seen: keras.KerasTensor, image: keras.KerasTensor, stride: int
    ) -> keras.KerasTensor:
        raised = keras.layers.UpSampling2D(stride, name="nearest", dtype="float32")(scores)
        return CropLike(0, name="cut", dtype="float32")([raised, image])


@spec
class Smoothed:
    """The mean of the logits around each pixel."""

    type: Literal["smoothed"] = "smoothed"
    size: Literal[3, 5] = 3
    """Height and width of what is averaged."""

    def __call__(self, logits: keras.KerasTensor, image: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.AveragePooling2D(self.size, 1, "same", name="smoothed", dtype="float32")(logits)
