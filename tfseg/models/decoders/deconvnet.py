"""DeconvNet: a decoder that mirrors the encoder, with unpooling by the encoder's argmax indices."""

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
"""Epsilon and initial beta of BatchNorm, as released."""
FULL = 7
"""Kernel size of `fc6` and `fc6_deconv`."""


@spec
class DeconvNet(Decoder):
    """DeconvNet (Noh, Hong & Han 2015, section 3), as released: on VGG16, 251,805,653 parameters for 21 classes.

    `fc6` (7x7) and `fc7` are convolutions without padding; the transposed convolution `fc6_deconv` restores the size of
    `pool5`. Five times, unpooling puts values back at the argmax indices of a pool, and transposed 3x3 convolutions
    densify the feature map; the last one of each block has the number of filters of the preceding encoder block.
    BatchNorm precedes every ReLU, and there is no dropout.

    The number above counts trainable parameters: kernels, biases, gamma and beta. Moving averages add 33,408.

    At 224x224, the kernel of `fc6` covers the whole 7x7 feature map. Larger maps are convolved as usual, and smaller
    ones are padded with zeros at the bottom and on the right, which are cropped after `fc6_deconv`, so that any image
    size works.
    """

    type: Literal["deconvnet"] = "deconvnet"
    filters: Annotated[int, Field(ge=1)] = 4096
    """Number of filters of `fc6` and `fc7`."""

    @property
    def head(self) -> None:
        """None, because the scores have the image size."""

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities of `features` with the decoder, as pairs `(path, message)`."""
        yield from unpooling_problems(features, "deconvnet")

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> Scores:
        stages = pools(features)
        x = self._fully_connected(stages[-1].tensor)
        for number in range(len(stages), 0, -1):
            x = unpool(x, stages[number - 1], f"unpool{number}")
            last = stages[number - 2].tensor.shape[-1] if number > 1 else x.shape[-1]
            for index, filters in enumerate(_filters(number, x.shape[-1], last)):
                x = _deconv(x, filters, 3, "same", f"deconv{number}_{index + 1}", f"derelu{number}_{index + 1}")
        score = keras.layers.Conv2D(classes, 1, kernel_initializer=_gaussian(), name="seg_score")
        return Scores(score(x), features=x)

    def _fully_connected(self, pool: keras.KerasTensor) -> keras.KerasTensor:
        """Applies `fc6`, `fc7` and `fc6_deconv` to the last pool, and crops the result to the size of `pool`."""
        x = PadToSize(FULL, name="pad5")(pool)
        for name, size, relu in (("fc6", FULL, "relu6"), ("fc7", 1, "relu7")):
            x = keras.layers.Conv2D(self.filters, size, kernel_initializer="he_normal", name=name)(x)
            x = activated(x, name, relu, epsilon=EPSILON, shift=SHIFT)
        x = _deconv(x, pool.shape[-1], FULL, "valid", "fc6_deconv", "fc6_deconv_relu")
        return CropLike(0, name="fc6_deconvc")([x, pool])


def _filters(number: int, filters: int, last: int) -> tuple[int, ...]:
    """Returns the filters of a block's convolutions; as in VGG16, the two finest blocks have one convolution fewer."""
    return (*(filters,) * (2 if number > 2 else 1), last)


def _deconv(x: keras.KerasTensor, filters: int, size: int, padding: str, name: str, relu: str) -> keras.KerasTensor:
    deconv = keras.layers.Conv2DTranspose(filters, size, padding=padding, kernel_initializer=_gaussian(), name=name)
    return activated(deconv(x), name, relu, epsilon=EPSILON, shift=SHIFT)


def _gaussian() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.01)
