"""What refines logits at the image's size, before they leave the network."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg import layers
from tfseg.context import Context
from tfseg.layers.crf_rnn import Compatibility, KernelWeights
from tfseg.ops.crf.arguments import LARGEST_THETA_GAMMA, LARGEST_WEIGHT
from tfseg.ops.crf.crf_rnn import KernelForm
from tfseg.ops.crf.mean_field import Normalization
from tfseg.spec.declare import spec
from tfseg.spec.derive import Arguments
from tfseg.spec.problems import FieldProblem, InvalidFields

LAYER = Arguments(layers.CrfRnn)
"""What the fields mean and where they begin: as in the layer. `image_gradient` is none of them: the image is what the
network was given."""
Theta = Annotated[float, Field(gt=0)]
ThetaGamma = Annotated[float, Field(gt=0, le=LARGEST_THETA_GAMMA)]
Weight = Annotated[float, Field(ge=-LARGEST_WEIGHT, le=LARGEST_WEIGHT)]
Count = Annotated[int, Field(ge=1)]


class Refinement:
    """From logits at the image's size to better ones. One of your own needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)

    def __call__(self, logits: keras.KerasTensor, image: keras.KerasTensor) -> keras.KerasTensor:
        """Logits of the same shape; `image` is what the network was given, 0 to 255."""
        raise NotImplementedError

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from refining the logits of the context's classes on its images, each as (path, message)."""
        yield from ()


@spec
class CrfRnn(Refinement):
    """CRF-RNN (Zheng et al. 2015): mean field in a fully connected CRF, trained with the network before it.

    It sees the image as it was given, 0 to 255. It starts from the values of the authors' program; the network should
    start from a trained one without it, whose file `backbone.weights` can name.
    """

    type: Literal["crf_rnn"] = "crf_rnn"
    theta_alpha: Theta = LAYER("theta_alpha")
    theta_beta: Theta = LAYER("theta_beta")
    theta_gamma: ThetaGamma = LAYER("theta_gamma")
    bilateral_weight: Weight = LAYER("bilateral_weight")
    spatial_weight: Weight = LAYER("spatial_weight")
    kernel_weights: KernelWeights = LAYER("kernel_weights")
    compatibility: Compatibility | tuple[tuple[float, ...], ...] = LAYER("compatibility")
    iterations: Count = LAYER("iterations")
    inference_iterations: Count = LAYER("inference_iterations")
    normalization: Normalization = LAYER("normalization")
    kernel: KernelForm = LAYER("kernel")
    window: Annotated[int, Field(ge=3)] = LAYER("window")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.window % 2 == 0:
            raise InvalidFields((("window",), f"must be odd, with the pixel in the middle. Received: {self.window}"))
        if not isinstance(self.compatibility, str) and {len(row) for row in self.compatibility} != {
            len(self.compatibility)
        }:
            shape = [len(row) for row in self.compatibility]
            raise InvalidFields((("compatibility",), f"must be as long as wide. Received: rows of {shape} values"))
        return self

    def __call__(self, logits: keras.KerasTensor, image: keras.KerasTensor) -> keras.KerasTensor:
        return layers.CrfRnn(**LAYER.of(self), dtype="float32", name="crf_rnn")([logits, image])

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from refining the logits of the context's classes on its images, each as (path, message)."""
        channels, classes = context.channels, context.labels.count
        if channels not in (1, 3):
            yield (), f"the CRF compares colors of 1 or 3 channels, and model.channels is {channels}. Set it to null"
        if not isinstance(self.compatibility, str) and len(self.compatibility) != classes:
            rows = len(self.compatibility)
            yield ("compatibility",), f"must have a row and a column for each of {classes} classes. Received: {rows}"
