"""What refines logits at the image's size, before they leave the network."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg import layers
from tfseg.context import Context
from tfseg.ops.crf.arguments import LARGEST_THETA_GAMMA, LARGEST_WEIGHT
from tfseg.ops.crf.crf_rnn import KernelForm
from tfseg.ops.crf.mean_field import Normalization
from tfseg.spec.declare import spec
from tfseg.spec.problems import Fault, Misfit

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

    def problems(self, context: Context) -> Iterator[Fault]:
        """What keeps it from refining the logits of the context's classes on its images, each as (path, message)."""
        yield from ()


@spec
class CrfRnn(Refinement):
    """CRF-RNN (Zheng et al. 2015): mean field in a fully connected CRF, trained with the network before it.

    It sees the image as it was given, 0 to 255. It starts from the values of the authors' program; the network should
    start from a trained one without it, whose file `backbone.weights` can name.
    """

    type: Literal["crf_rnn"] = "crf_rnn"
    theta_alpha: Theta = 160.0
    """Standard deviation of the bilateral kernel in pixels."""
    theta_beta: Theta = 3.0
    """Standard deviation of the bilateral kernel in intensities of 0 to 255."""
    theta_gamma: ThetaGamma = 3.0
    """Standard deviation of the spatial kernel in pixels."""
    bilateral_weight: Weight = 5.0
    """Where the weights of the bilateral kernel start."""
    spatial_weight: Weight = 3.0
    """Where the weights of the spatial kernel start."""
    kernel_weights: Literal["scalar", "per_class", "full"] = "full"
    """What is learned of each kernel: one weight, one for each class, or a matrix over pairs of classes."""
    compatibility: Literal["learned", "potts"] | tuple[tuple[float, ...], ...] = "learned"
    """`learned`, from minus the identity; `potts`: that for good; or a matrix for good, a row for each class, whose
    positive entries set two classes against each other."""
    iterations: Count = 5
    """Of mean field in training."""
    inference_iterations: Count = 10
    """Of mean field otherwise."""
    normalization: Normalization = "after"
    """Of the kernels; weights that were found under one are wrong under another."""
    kernel: KernelForm = "permutohedral"
    """`permutohedral`: the bilateral kernel over the whole image. `convolutional`: over a window, which TFLite and XLA
    can do as well."""
    window: Annotated[int, Field(ge=3)] = 11
    """Height and width of the window of `kernel: convolutional`; odd."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.window % 2 == 0:
            raise Misfit(("window", f"must be odd, with the pixel in the middle. Received: {self.window}"))
        if not isinstance(self.compatibility, str) and {len(row) for row in self.compatibility} != {
            len(self.compatibility)
        }:
            shape = [len(row) for row in self.compatibility]
            raise Misfit(("compatibility", f"must be as long as wide. Received: rows of {shape} values"))
        return self

    def __call__(self, logits: keras.KerasTensor, image: keras.KerasTensor) -> keras.KerasTensor:
        arguments = {name: value for name, value in vars(self).items() if name != "type"}
        return layers.CrfRnn(**arguments, dtype="float32", name="crf_rnn")([logits, image])

    def problems(self, context: Context) -> Iterator[Fault]:
        """What keeps it from refining the logits of the context's classes on its images, each as (path, message)."""
        channels, classes = context.channels, context.labels.count
        if channels not in (1, 3):
            yield (), f"the CRF compares colours of 1 or 3 channels, and model.channels is {channels}. Set it to null"
        if not isinstance(self.compatibility, str) and len(self.compatibility) != classes:
            rows = len(self.compatibility)
            yield ("compatibility",), f"must have a row and a column for each of {classes} classes. Received: {rows}"
