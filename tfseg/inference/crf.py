"""Fully connected CRF as post-processing, as in DeepLab v1 and v2."""

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
WITHOUT_CRF = "Set inference.crf to null."
"""Remedy for a CRF that does not support the images."""
CHANNELS = (1, 3)
"""Numbers of image channels for which the published parameters are meaningful: gray and RGB."""
KERNELS = ("bilateral_weight", "theta_alpha", "theta_beta", "spatial_weight", "theta_gamma")
"""Fields that are required unless `parameters` is set."""


@spec
class Crf:
    """Parameters of a fully connected CRF: a published set, custom values, or a published set with custom values."""

    parameters: Annotated[str, Field(json_schema_extra={"enum": sorted(PARAMETERS)})] | None = None
    """Name of a published set of parameters (`docs/crf.md`). The fields below override its values."""
    bilateral_weight: Weight | None = None
    """Weight of the bilateral (appearance) kernel."""
    theta_alpha: Theta | None = None
    """Spatial standard deviation of the bilateral kernel, in pixels."""
    theta_beta: Theta | None = None
    """Color standard deviation of the bilateral kernel, in intensities of 0 to 255."""
    spatial_weight: Weight | None = None
    """Weight of the spatial (smoothness) kernel."""
    theta_gamma: ThetaGamma | None = None
    """Standard deviation of the spatial kernel, in pixels."""
    normalization: Normalization | None = None
    """Normalization of the kernels, on which the meaning of the weights depends. Defaults to that of `parameters`, or
    to `symmetric`."""
    iterations: Annotated[int, Field(ge=1)] = 10
    """Number of mean-field iterations."""
    prune: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Probability threshold. Labels whose probability does not exceed it at any pixel of an image are left out, which
    is faster with many classes. By default all labels are kept."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        known = f"expected one of {', '.join(sorted(PARAMETERS))}"
        if self.parameters is not None and self.parameters not in PARAMETERS:
            raise InvalidFields((("parameters",), f"{known}. Received: {self.parameters}"))
        missing = [name for name in KERNELS if getattr(self, name) is None]
        if self.parameters is None and missing:
            raise InvalidFields(
                (("parameters",), f"{known}; without it, {', '.join(missing)} must be set too. Received: null")
            )
        return self

    def __call__(self, probabilities: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Refines probabilities by mean-field inference.

        >>> image = np.zeros((1, 8, 8, 3), np.uint8)
        >>> image[:, :, 4:] = 255
        >>> probabilities = np.full((1, 8, 8, 2), 0.5, np.float32)
        >>> probabilities[:, 2, 2], probabilities[:, 2, 6] = (0.9, 0.1), (0.1, 0.9)
        >>> Crf(parameters="deeplab_v1_largefov")(probabilities, image).argmax(-1)[0, 5].tolist()
        [0, 0, 0, 0, 1, 1, 1, 1]

        Args:
            probabilities: Float32 array `[batch, height, width, classes]`, after softmax.
            images: Uint8 array `[batch, height, width, channels]`, with 1 or 3 channels.

        Returns:
            Float32 array `[batch, height, width, classes]`.

        Raises:
            RunError: If the probabilities contain NaN, or the image is too large for the lattice with these standard
                deviations.
        """
        if not np.isfinite(probabilities).all():
            raise RunError(
                "inference.crf: the network's probabilities contain NaN, which would spread over the whole image. "
                "Train it again with a lower learning rate; a network with NaN weights predicts no valid masks without "
                "the CRF either."
            )
        given = {name: getattr(self, name) for name in ("parameters", *KERNELS, "normalization")}
        try:
            return np.asarray(dense_crf(probabilities, images, iterations=self.iterations, prune=self.prune, **given))
        except tf.errors.InvalidArgumentError as error:  # the only cause with uint8 images and finite probabilities
            alpha, beta = self.thetas
            raise RunError(
                f"inference.crf: an image of {images.shape[1]}x{images.shape[2]} (height x width) is too large for "
                f"the lattice with these standard deviations. Use larger ones; below a theta_beta of about 0.2 color "
                f"differences alone are too large. Received: theta_alpha={alpha}, theta_beta={beta}"
            ) from error

    @property
    def mode(self) -> Normalization:
        """Normalization of the kernels: `normalization` or, if it is None, that of the published set or `symmetric`."""
        return self.normalization or (PARAMETERS[self.parameters].normalization if self.parameters else "symmetric")

    @property
    def thetas(self) -> tuple[float, float]:
        """`theta_alpha` and `theta_beta`, or the values of the published set where they are None."""
        published = PARAMETERS.get(self.parameters or "")
        alpha, beta = (getattr(self, name) or getattr(published, name) for name in ("theta_alpha", "theta_beta"))
        return alpha, beta


def channels_problem(channels: int) -> str | None:
    """Returns the problem of a CRF with images of this number of channels, or None."""
    if channels in CHANNELS:
        return None
    return f"a CRF needs gray or RGB images, with 1 or 3 channels. Received: images with {channels} channels"
