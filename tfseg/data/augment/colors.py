"""Augmentation of colors."""

from typing import Annotated, Literal

import numpy as np
import tensorflow as tf
from pydantic import Field

from tfseg.data.augment.contract import AugmentSpec, Pair, View, like
from tfseg.data.augment.probability import ORDERED, Probability, log_uniform, with_probability
from tfseg.spec.declare import spec

_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
Exponent = Annotated[float, Field(ge=0.01, le=100)]


@spec
class ColorJitter(AugmentSpec):
    """Randomly changes brightness, contrast, saturation and hue, by one affine transformation of the colors."""

    type: Literal["color_jitter"] = "color_jitter"
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Maximum shift, as a fraction of the range of values."""
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Maximum relative change of differences from the mean of the image."""
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Maximum relative change of differences from gray. Requires 3 channels."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Maximum rotation of the hue, as a fraction of the full circle. Requires 3 channels."""
    probability: Probability = 1.0
    """Probability of a change."""

    def channel_problem(self, channels: int) -> str | None:
        """Returns a message if saturation or hue are set and there are not 3 channels."""
        if channels == 3 or not (self.saturation or self.hue):
            return None
        message = f"saturation and hue must be 0 for images with {channels} channels"
        return f"{message}; received {self.saturation} and {self.hue}"

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Changes the colors of the image; the mask stays the same."""
        draws = tf.random.stateless_uniform([4], seed, -1, 1, alg="philox")
        contrast = 1 + self.contrast * draws[1]
        pixels = tf.cast(image, tf.float32)
        mean = tf.reduce_mean(pixels)
        shift = 255 * self.brightness * draws[0] + mean * (1 - contrast)
        if image.shape[-1] == 3:
            matrix = self._matrix(draws[2], draws[3]) * contrast
            shape = tf.shape(image)
            pixels = tf.reshape(tf.matmul(tf.reshape(pixels, [-1, 3]), matrix, transpose_b=True), shape)
        else:
            pixels = pixels * contrast
        return tf.ensure_shape(like(pixels + shift, image), image.shape), mask

    def _matrix(self, saturation: tf.Tensor, hue: tf.Tensor) -> tf.Tensor:
        """Returns the color matrix: saturation scales the two chroma axes of YIQ, hue rotates them."""
        angle, chroma = 2 * np.pi * self.hue * hue, 1 + self.saturation * saturation
        cos, sin = chroma * tf.cos(angle), chroma * tf.sin(angle)
        rotation = tf.reshape(tf.stack([1.0, 0.0, 0.0, 0.0, cos, -sin, 0.0, sin, cos]), [3, 3])
        to_rgb, to_yiq = tf.constant(np.linalg.inv(_TO_YIQ), tf.float32), tf.constant(_TO_YIQ, tf.float32)
        return to_rgb @ rotation @ to_yiq


@spec
class Gamma(AugmentSpec):
    """Randomly raises values, as fractions of 255, to a power: a nonlinear change of brightness."""

    type: Literal["gamma"] = "gamma"
    gamma: Annotated[tuple[Exponent, Exponent], ORDERED] = (0.7, 1.4)
    """Minimum and maximum exponent, drawn log-uniformly. Exponents below 1 brighten the image."""
    probability: Probability = 1.0
    """Probability of a change."""

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Changes the values of the image; the mask stays the same."""
        gamma = log_uniform(tf.random.stateless_uniform([], seed, alg="philox"), self.gamma)
        # Several times faster than tf.pow. Zero stays zero.
        return like(255 * tf.exp(gamma * tf.math.log(tf.cast(image, tf.float32) / 255)), image), mask


@spec
class Gray(AugmentSpec):
    """Randomly replaces the colors by their luma, in all 3 channels."""

    type: Literal["gray"] = "gray"
    probability: Probability = 0.1
    """Probability of gray."""

    def channel_problem(self, channels: int) -> str | None:
        """Returns a message unless there are 3 channels."""
        return None if channels == 3 else f"gray requires images with 3 channels; received {channels}"

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Converts the image to gray; the mask stays the same."""
        return like(tf.repeat(luma(tf.cast(image, tf.float32)), 3, -1), image), mask


def luma(pixels: tf.Tensor) -> tf.Tensor:
    """Returns the luma of colors by Rec. 601: float `[..., 3]` to `[..., 1]`, for at least two axes."""
    return tf.matmul(pixels, tf.constant(_TO_YIQ[0][:, None], tf.float32))  # twice as fast as a product and a sum
