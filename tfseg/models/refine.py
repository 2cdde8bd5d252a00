"""Refinement of the logits at the image size."""

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
"""Descriptions and defaults of the fields, taken from the layer. `image_gradient` is not a field, because the image is
the network's input."""
Theta = Annotated[float, Field(gt=0)]
ThetaGamma = Annotated[float, Field(gt=0, le=LARGEST_THETA_GAMMA)]
Weight = Annotated[float, Field(ge=-LARGEST_WEIGHT, le=LARGEST_WEIGHT)]
Count = Annotated[int, Field(ge=1)]


class Refinement:
    """Base class of refinements of the logits. A custom one needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)

    def __call__(self, logits: keras.KerasTensor, image: keras.KerasTensor) -> keras.KerasTensor:
        """Returns logits of the same shape; `image` is the network's input, with values from 0 to 255."""
        raise NotImplementedError

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the problems that prevent refining the logits in this context, as pairs `(path, message)`."""
        yield from ()


@spec
class CrfRnn(Refinement):
    """CRF-RNN (Zheng et al. 2015): mean-field inference in a fully connected CRF, trained with the network before it.

    The CRF compares pixels of the network's input, with values from 0 to 255. The initial values of its weights are
    those of the authors' code. Start from a network trained without the CRF: set `backbone.weights` to its file.
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
            raise InvalidFields((("window",), f"must be odd, to be centered on a pixel. Received: {self.window}"))
        if not isinstance(self.compatibility, str) and {len(row) for row in self.compatibility} != {
            len(self.compatibility)
        }:
            lengths = ", ".join(str(len(row)) for row in self.compatibility)
            received = f"rows of lengths {lengths}"
            raise InvalidFields((("compatibility",), f"must be a square matrix. Received: {received}"))
        return self

    def __call__(self, logits: keras.KerasTensor, image: keras.KerasTensor) -> keras.KerasTensor:
        return layers.CrfRnn(**LAYER.of(self), dtype="float32", name="crf_rnn")([logits, image])

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the problems that prevent refining the logits in this context, as pairs `(path, message)`."""
        channels, classes = context.channels, context.labels.count
        if channels not in (1, 3):
            yield (), f"the CRF supports 1 or 3 image channels, and model.channels is {channels}. Set refine to null"
        if not isinstance(self.compatibility, str) and len(self.compatibility) != classes:
            rows = len(self.compatibility)
            yield ("compatibility",), f"must have {classes} rows and columns, one per class. Received: {rows} rows"
