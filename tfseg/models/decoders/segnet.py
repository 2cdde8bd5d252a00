"""SegNet and Bayesian SegNet: unpooling and convolutions, without anything fully connected between."""

from collections.abc import Iterator
from typing import Annotated, Literal

import keras
from pydantic import Field

from tfseg.backbones.features import Features
from tfseg.context import Context
from tfseg.layers import McDropout
from tfseg.models.decoders.decoder import Decoder
from tfseg.models.decoders.unpooling import activated, pools, unpool, unpooling_problems
from tfseg.models.outputs import Scores
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem

RATE = 0.5
"""Of Monte Carlo dropout, as released."""


@spec
class SegNet(Decoder):
    """SegNet's decoder (Badrinarayanan, Kendall & Cipolla 2017, section 3): on VGG16, 29,455,125 parameters.

    For each pool, deepest first: values return to where the pool found them, and 3x3 convolutions with BatchNorm and
    ReLU make the map dense, as many as the encoder has there; the last one of each block has the channels of the block
    before, and the last of all scores the classes.

    The count is for 21 classes, of what is learned: kernels, biases, gamma and beta.
    """

    type: Literal["segnet"] = "segnet"
    convolutions: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (3, 3, 3, 2, 2)
    """Convolutions after each unpooling, deepest first."""
    mc_dropout: Literal["all", "central"] | None = None
    """Dropout that stays on at test time (Kendall et al. 2017): before `all` unpoolings as for VOC, or before all but
    the finest (`central`) as for CamVid. The encoder's half is `backbone.mc_dropout`."""

    @property
    def head(self) -> None:
        """Its scores have the image's size."""

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from scoring `features`, each as (path, message)."""
        faults = list(unpooling_problems(features, "segnet"))
        yield from faults
        count = len(pools(features))
        if not faults and len(self.convolutions) != count:
            expected = f"expected {count} numbers, one for each pool of {features.backbone}"
            yield ("convolutions",), f"{expected}. Received: {len(self.convolutions)}"

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> Scores:
        stages = pools(features)
        before = x = stages[-1].tensor
        for number in range(len(stages), 0, -1):
            if self.mc_dropout == "all" or (self.mc_dropout and number > 1):
                x = McDropout(RATE, name=f"unpool{number}_drop")(x)
            x = unpool(x, stages[number - 1], f"unpool{number}")
            after = stages[number - 2].tensor.shape[-1] if number > 1 else classes
            count = self.convolutions[len(stages) - number]
            for index in range(count, 0, -1):
                before, x = x, _conv(x, after if index == 1 else x.shape[-1], f"{number}_{index}")
        return Scores(x, features=before)


def _conv(x: keras.KerasTensor, channels: int, number: str) -> keras.KerasTensor:
    name = f"conv{number}_D"
    x = keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer="he_normal", name=name)(x)
    return x if number == "1_1" else activated(x, name, f"relu{number}_D")
