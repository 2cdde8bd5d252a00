"""A fully connected CRF behind a trained network, as DeepLab v1 and v2 have it."""

from typing import Annotated, Self

import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator

from tfseg.errors import RunError
from tfseg.ops.crf.arguments import LARGEST_THETA_GAMMA, LARGEST_WEIGHT
from tfseg.ops.crf.dense_crf import dense_crf
from tfseg.ops.crf.mean_field import Normalization
from tfseg.ops.crf.parameters import PARAMETERS
from tfseg.spec.declare import spec
from tfseg.spec.problems import InvalidFields

Theta = Annotated[float, Field(gt=0)]
ThetaGamma = Annotated[float, Field(gt=0, le=LARGEST_THETA_GAMMA)]
Weight = Annotated[float, Field(ge=0, le=LARGEST_WEIGHT)]
CHANNELS = (1, 3)
"""Of images whose colors have a distance that the CRF's parameters were found for."""
KERNELS = ("bilateral_weight", "theta_alpha", "theta_beta", "spatial_weight", "theta_gamma")
"""The fields without which there is no CRF."""


@spec
class Crf:
    """Which CRF: a published set of parameters, one's own, or a published set with some of one's own."""

    parameters: Annotated[str, Field(json_schema_extra={"enum": sorted(PARAMETERS)})] | None = None
    """The name of a published set (`docs/crf.md`). Its values are those that are not given below."""
    bilateral_weight: Weight | None = None
    """Of the kernel of places and colors."""
    theta_alpha: Theta | None = None
    """Its standard deviation in pixels."""
    theta_beta: Theta | None = None
    """Its standard deviation in intensities of 0 to 255."""
    spatial_weight: Weight | None = None
    """Of the kernel of places alone."""
    theta_gamma: ThetaGamma | None = None
    """Its standard deviation in pixels."""
    normalization: Normalization | None = None
    """How the kernels' sums are normalized, without which weights mean nothing: by default as `parameters` was found
    with, or else `symmetric`."""
    iterations: Annotated[int, Field(ge=1)] = 10
    """Of mean field."""
    prune: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Leaves out labels that no pixel of an image gives more than this probability: quicker where classes are many. By
    default all stay."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        known = f"expected one of {', '.join(sorted(PARAMETERS))}"
        if self.parameters is not None and self.parameters not in PARAMETERS:
            raise InvalidFields((("parameters",), f"{known}. Received: {self.parameters}"))
        missing = [name for name in KERNELS if getattr(self, name) is None]
        if self.parameters is None and missing:
            raise InvalidFields(
                (("parameters",), f"{known}, or values for {', '.join(missing)} as well. Received: null")
            )
        return self

    def __call__(self, probabilities: np.ndarray, images: np.ndarray) -> np.ndarray:
        """The refined probabilities.

        >>> image = np.zeros((1, 8, 8, 3), np.uint8)
        >>> image[:, :, 4:] = 255
        >>> unsure = np.full((1, 8, 8, 2), 0.5, np.float32)
        >>> unsure[:, 2, 2], unsure[:, 2, 6] = (0.9, 0.1), (0.1, 0.9)
        >>> Crf(parameters="deeplab_v1_largefov")(unsure, image).argmax(-1)[0, 5].tolist()
        [0, 0, 0, 0, 1, 1, 1, 1]

        Args:
            probabilities: float32 `[batch, height, width, classes]`, after softmax.
            images: uint8 `[batch, height, width, channels]`, one channel or three.

        Raises:
            RunError: the CRF cannot be computed with such values.
        """
        if not np.isfinite(probabilities).all():
            raise RunError(
                "inference.crf: the network's probabilities hold NaN, which would spread over the whole image. Train "
                "it again with a lower learning rate; a network with NaN among its weights gives no masks without the "
                "CRF either."
            )
        given = {name: getattr(self, name) for name in ("parameters", *KERNELS, "normalization")}
        try:
            return np.asarray(dense_crf(probabilities, images, iterations=self.iterations, prune=self.prune, **given))
        except tf.errors.InvalidArgumentError as error:  # images of bytes and sound probabilities leave one reason
            alpha, beta = self.thetas
            raise RunError(
                f"inference.crf: an image of {images.shape[1]}x{images.shape[2]} (height x width) is too large for "
                f"the lattice when it is measured in units so small. Take larger ones; below a theta_beta of about "
                f"0.2 contrasts alone are too large. Received: theta_alpha={alpha}, theta_beta={beta}"
            ) from error

    @property
    def mode(self) -> Normalization:
        """`normalization`, whether it is given or that of a published set."""
        return self.normalization or (PARAMETERS[self.parameters].normalization if self.parameters else "symmetric")

    @property
    def thetas(self) -> tuple[float, float]:
        """`theta_alpha` and `theta_beta`, whether they are given or those of a published set."""
        start = PARAMETERS.get(self.parameters or "")
        alpha, beta = (getattr(self, name) or getattr(start, name) for name in ("theta_alpha", "theta_beta"))
        return alpha, beta


def channels_problem(channels: int) -> str | None:
    """What is wrong with images of so many channels, if anything."""
    if channels in CHANNELS:
        return None
    return (
        "the distance of two colors is that of gray or RGB images, of 1 or 3 channels; set it to null. "
        f"Received: images of {channels} channels"
    )
