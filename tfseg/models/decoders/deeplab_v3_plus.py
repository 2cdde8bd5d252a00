"""DeepLab v3+: features of DeepLab v3, refined by low-level features."""

from collections.abc import Iterator
from typing import Annotated, Literal

import keras
from pydantic import Field

from tfseg.backbones.features import Features, Stage
from tfseg.context import Context
from tfseg.layers import ResizeLike
from tfseg.layers.norm import normalized
from tfseg.models.backbone_features import skip_problem
from tfseg.models.decoders.deeplab_v3 import EPSILON, PYRAMID, DeepLabV3
from tfseg.models.outputs import Scores
from tfseg.spec.declare import spec
from tfseg.spec.messages import listed
from tfseg.spec.problems import FieldProblem


@spec
class DeepLabV3Plus(DeepLabV3):
    """DeepLab v3+ (Chen et al. 2018, section 3.1): DeepLab v3 with low-level features and refining convolutions.

    As in DeepLab v3, the defaults are those of the authors' release.
    """

    type: Literal["deeplab_v3_plus"] = "deeplab_v3_plus"  # type: ignore[assignment]  # another name in a file
    separable: bool = PYRAMID("separable", True)
    low_level: Annotated[int, Field(ge=1)] | Annotated[str, Field(min_length=1)] = 4
    """Low-level stage, by its stride or its name."""
    low_level_filters: Annotated[int, Field(ge=1)] = 48
    """Number of filters of the 1x1 convolution of the low-level features; few, so that they do not outweigh the deep
    ones (table 1)."""
    refinements: Annotated[int, Field(ge=0)] = 2
    """Number of 3x3 convolutions of the concatenated features (table 2)."""

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields a (path, message) pair for each reason why `features` do not fit the decoder."""
        yield from super().problems(features, context)
        if isinstance(self.low_level, int) and self.low_level not in features.strides:
            yield ("low_level",), f"{features}. Received: {self.low_level}"
        elif isinstance(self.low_level, str) and self.low_level not in features.names:
            has = f"{features.backbone} has the stages {listed(features.names)}"
            yield ("low_level",), f"{has}. Received: {self.low_level}"
        if (problem := skip_problem(features)) is not None:
            yield ("low_level",), f"{problem}. Received: {self.low_level}"

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> Scores:
        low = self._unit(self._low_level(features).tensor, "low_level", self.low_level_filters)
        deep = ResizeLike(align_corners=self.align_corners, name="raise")([self._pyramid(features), low])
        x = keras.layers.Concatenate(name="join")([deep, low])
        for number in range(1, self.refinements + 1):
            x = self._refined(x, f"refine{number}")
        return self._score(x, classes)

    def _low_level(self, features: Features) -> Stage:
        return features.at(self.low_level) if isinstance(self.low_level, int) else features.stage(self.low_level)

    def _refined(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if not self.separable:
            return self._unit(x, name, self.filters, 3)
        depthwise = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")
        return self._unit(self._activated(depthwise(x), f"{name}_depthwise"), name, self.filters)

    def _unit(self, x: keras.KerasTensor, name: str, filters: int, size: int = 1) -> keras.KerasTensor:
        conv = keras.layers.Conv2D(filters, size, padding="same", use_bias=False, name=name)
        return self._activated(conv(x), name)

    def _activated(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        x = normalized(x, f"{name}_bn", epsilon=EPSILON)
        return keras.layers.Activation(self.activation, name=f"{name}_{self.activation}")(x)
