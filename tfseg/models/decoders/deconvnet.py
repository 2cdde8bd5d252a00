"""DeconvNet: the encoder in a mirror, every pool undone at its own places."""

from collections.abc import Iterator
from typing import Annotated, Literal

import keras
from pydantic import Field

from tfseg.backbones.features import Features
from tfseg.context import Context
from tfseg.layers import CropLike, PadToSize
from tfseg.models.decoders.decoder import Decoder
from tfseg.models.decoders.unpooling import activated, pools, unpool, unpooling_problems
from tfseg.models.outputs import Scores
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem

EPSILON, SHIFT = 1e-9, 0.001
"""What BatchNorm adds to variances and what its beta starts from, as released."""
FULL = 7
"""Height and width of the kernels of `fc6` and of its transposed twin."""


@spec
class DeconvNet(Decoder):
    """DeconvNet (Noh, Hong & Han 2015, section 3), as released: on VGG16, 251,805,653 parameters for 21 classes.

    `fc6` (7x7) and `fc7` are convolutions that do not pad; a transposed `fc6_deconv` gives the map of `pool5` back.
    Five times values return to where a pool found them, and transposed 3x3 convolutions make the map dense; the last
    one of each block has the channels of the block before. BatchNorm stands before every ReLU, and there is no dropout.

    The count is of what is learned: kernels, biases, gamma and beta. Moving averages are 33,408 numbers more.

    At 224x224 `fc6` sees the whole 7x7 map. Larger maps are read in every 7x7 window, and smaller ones are filled up
    with zeros at the bottom and on the right, which are cut off again after `fc6_deconv`: any image size works.
    """

    type: Literal["deconvnet"] = "deconvnet"
    filters: Annotated[int, Field(ge=1)] = 4096
    """Channels of `fc6` and `fc7`."""

    @property
    def head(self) -> None:
        """Its scores have the image's size."""

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from scoring `features`, each as (path, message)."""
        yield from unpooling_problems(features, "deconvnet")

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> Scores:
        stages = pools(features)
        x = self._fully_connected(stages[-1].tensor)
        for number in range(len(stages), 0, -1):
            x = unpool(x, stages[number - 1], f"unpool{number}")
            last = stages[number - 2].tensor.shape[-1] if number > 1 else x.shape[-1]
            for index, channels in enumerate(_widths(number, x.shape[-1], last)):
                x = _deconv(x, channels, 3, "same", f"deconv{number}_{index + 1}", f"derelu{number}_{index + 1}")
        score = keras.layers.Conv2D(classes, 1, kernel_initializer=_gaussian(), name="seg_score")
        return Scores(score(x), features=x)

    def _fully_connected(self, pool: keras.KerasTensor) -> keras.KerasTensor:
        """From the last pool through its 7x7 windows and back to its size."""
        x = PadToSize(FULL, name="pad5")(pool)
        for name, size, relu in (("fc6", FULL, "relu6"), ("fc7", 1, "relu7")):
            x = keras.layers.Conv2D(self.filters, size, kernel_initializer="he_normal", name=name)(x)
            x = activated(x, name, relu, epsilon=EPSILON, shift=SHIFT)
        x = _deconv(x, pool.shape[-1], FULL, "valid", "fc6_deconv", "fc6_deconv_relu")
        return CropLike(0, name="fc6_deconvc")([x, pool])


def _widths(number: int, channels: int, last: int) -> tuple[int, ...]:
    """The channels of a block's transposed convolutions; as VGG16, the two finest blocks have one less."""
    return (*(channels,) * (2 if number > 2 else 1), last)


def _deconv(x: keras.KerasTensor, channels: int, size: int, padding: str, name: str, relu: str) -> keras.KerasTensor:
    deconv = keras.layers.Conv2DTranspose(channels, size, padding=padding, kernel_initializer=_gaussian(), name=name)
    return activated(deconv(x), name, relu, epsilon=EPSILON, shift=SHIFT)


def _gaussian() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.01)
