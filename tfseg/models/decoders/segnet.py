"""SegNet and Bayesian SegNet: unpooling and convolutions, without fully connected layers."""

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
"""Rate of MC dropout, as released."""


@spec
class SegNet(Decoder):
    """SegNet's decoder (Badrinarayanan, Kendall & Cipolla 2017, section 3): on VGG16, 29,455,125 parameters.

    For each pool, deepest first, unpooling puts values back at the argmax indices of the pool, and 3x3 convolutions
    with BatchNorm and ReLU, as many as in that encoder block, densify the feature map. The last one of each block has
    the number of filters of the preceding encoder block, and the very last one scores the classes.

    The number above is for 21 classes and counts trainable parameters: kernels, biases, gamma and beta.
    """

    type: Literal["segnet"] = "segnet"
    convolutions: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (3, 3, 3, 2, 2)
    """Number of convolutions after each unpooling, deepest first."""
    mc_dropout: Literal["all", "central"] | None = None
    """MC dropout at inference (Kendall et al. 2017): before `all` unpoolings, as for VOC, or before all but the finest
    (`central`), as for CamVid. `backbone.mc_dropout` is the encoder's."""

    @property
    def head(self) -> None:
        """None, because the scores have the image size."""

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities of `features` with the decoder, as pairs `(path, message)`."""
        problems = list(unpooling_problems(features, "segnet"))
        yield from problems
        count = len(pools(features))
        if not problems and len(self.convolutions) != count:
            expected = f"expected {count} numbers, one per pool of {features.backbone}"
            yield ("convolutions",), f"{expected}. Received: {len(self.convolutions)}"

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> Scores:
        stages = pools(features)
        before = x = stages[-1].tensor
        for number in range(len(stages), 0, -1):
            if self.mc_dropout == "all" or (self.mc_dropout and number > 1):
                x = McDropout(RATE, name=f"unpool{number}_drop")(x)
            x = unpool(x, stages[number - 1], f"unpool{number}")
            filters = stages[number - 2].tensor.shape[-1] if number > 1 else classes
            count = self.convolutions[len(stages) - number]
            for index in range(count, 0, -1):
                before, x = x, _conv(x, filters if index == 1 else x.shape[-1], f"{number}_{index}")
        return Scores(x, features=before)


def _conv(x: keras.KerasTensor, filters: int, number: str) -> keras.KerasTensor:
    name = f"conv{number}_D"
    x = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name=name)(x)
    return x if number == "1_1" else activated(x, name, f"relu{number}_D")
