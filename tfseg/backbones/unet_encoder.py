"""Contracting path of U-Net."""

from typing import Annotated, Literal

import keras
from pydantic import Field

from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.layers import Normalize
from tfseg.layers.norm import normalized
from tfseg.spec.declare import Location, spec

LEVELS = 5


@spec
class ContractingPath(Backbone):
    """U-Net encoder (Ronneberger et al. 2015, figure 1): five levels of two 3x3 convolutions with 2x2 pooling.

    Stages are `down1` (stride 1, full resolution) to `down5` (16). The number of filters starts at `filters` and
    doubles at each level. Unlike in the paper, convolutions pad, so that scores cover the whole image.
    """

    type: Literal["contracting_path"] = "contracting_path"
    filters: Annotated[int, Field(ge=1)] = 64
    """Number of filters of the first level."""
    batch_norm: bool = False
    """Normalize between convolution and ReLU, with the layer of `model.norm`; not in the paper."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout rate at the end of the path."""
    weights: Location | None = None
    """Path of a weight file to start from: `.npz` (`layer/variable`), a `.keras` model with these layers, or any other
    file that `tfseg import` reads."""

    def __call__(self, image: keras.KerasTensor) -> Features:
        x = Normalize("tf", name="normalize")(image)
        stages = []
        for level in range(LEVELS):
            name = f"down{level + 1}"
            if level:
                x = keras.layers.MaxPooling2D(2, 2, "same", name=f"pool{level}")(x)
            x = self._conv(self._conv(x, f"{name}_1", level), f"{name}_2", level)
            if level == LEVELS - 1:
                x = keras.layers.Dropout(self.dropout, name=f"{name}_drop")(x)
            stages.append(Stage(name, 2**level, x))
        return Features(tuple(stages))

    def _conv(self, x: keras.KerasTensor, name: str, level: int) -> keras.KerasTensor:
        x = keras.layers.Conv2D(
            self.filters * 2**level,
            3,
            padding="same",
            use_bias=not self.batch_norm,
            kernel_initializer="he_normal",
            name=name,
        )(x)
        if self.batch_norm:
            x = normalized(x, f"{name}_bn")
        return keras.layers.ReLU(name=f"{name}_relu")(x)
