"""Augmentation of image quality: blur, noise and JPEG compression."""

from typing import Annotated, Literal

import tensorflow as tf
from pydantic import Field

from tfseg.data.augment.contract import AugmentSpec, Pair, View, like
from tfseg.data.augment.probability import ORDERED, Probability, fold, uniform, with_probability
from tfseg.spec.declare import spec

Sigma = Annotated[float, Field(gt=0, le=100)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Quality = Annotated[int, Field(ge=1, le=100)]
_REACH = 4
"""Number of standard deviations at which the Gaussian filter is truncated."""


@spec
class Blur(AugmentSpec):
    """Blurs by a Gaussian filter of random size; the image is mirrored at its borders."""

    type: Literal["blur"] = "blur"
    sigma: Annotated[tuple[Sigma, Sigma], ORDERED] = (0.1, 2.0)
    """Minimum and maximum standard deviation of the filter, in pixels."""
    probability: Probability = 0.5
    """Probability of a blur."""

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Blurs the image; the mask stays the same."""
        sigma = uniform(tf.random.stateless_uniform([], seed, alg="philox"), self.sigma)
        radius = tf.cast(_REACH * sigma + 0.5, tf.int32)
        taps = tf.exp(-0.5 * (tf.cast(tf.range(-radius, radius + 1), tf.float32) / sigma) ** 2)
        taps /= tf.reduce_sum(taps)
        pixels = tf.cast(image, tf.float32)
        for _ in range(2):
            pixels = tf.transpose(_filtered(pixels, taps, radius), [1, 0, 2])
        return tf.ensure_shape(like(pixels, image), image.shape), mask


def _filtered(pixels: tf.Tensor, taps: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
    """Filters along the rows. All columns are channels of one convolution, which is several times faster."""
    height, width, channels = tf.shape(pixels)[0], tf.shape(pixels)[1], pixels.shape[-1]
    position = tf.range(-radius, height + radius) % (2 * height)
    mirrored = tf.gather(pixels, tf.minimum(position, 2 * height - 1 - position))
    kernel = tf.repeat(taps[:, None, None, None], width * channels, axis=2)
    folded = tf.reshape(mirrored, [1, height + 2 * radius, 1, width * channels])
    return tf.reshape(tf.nn.depthwise_conv2d(folded, kernel, [1, 1, 1, 1], "VALID"), [height, width, channels])


@spec
class Noise(AugmentSpec):
    """Adds Gaussian noise of random strength, independently for each pixel and channel."""

    type: Literal["noise"] = "noise"
    std: Annotated[tuple[Fraction, Fraction], ORDERED] = (0.0, 0.05)
    """Minimum and maximum standard deviation of the noise, as a fraction of the range of values."""
    probability: Probability = 0.5
    """Probability of noise."""

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Adds noise to the image; the mask stays the same."""
        std = 255 * uniform(tf.random.stateless_uniform([], seed, alg="philox"), self.std)
        noise = tf.random.stateless_normal(tf.shape(image), fold(seed, 1), stddev=std, alg="philox")
        return like(tf.cast(image, tf.float32) + noise, image), mask


@spec
class Jpeg(AugmentSpec):
    """Compresses as JPEG with random quality. Requires 1 or 3 channels. Float images are rounded to 8 bits."""

    type: Literal["jpeg"] = "jpeg"
    quality: Annotated[tuple[Quality, Quality], ORDERED] = (50, 100)
    """Minimum and maximum JPEG quality."""
    probability: Probability = 0.5
    """Probability of a compression."""

    def channel_problem(self, channels: int) -> str | None:
        """Returns a message unless there are 1 or 3 channels."""
        return None if channels in (1, 3) else f"jpeg requires images with 1 or 3 channels; received {channels}"

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Compresses and decompresses the image; the mask stays the same."""
        low, high = self.quality
        quality = tf.random.stateless_uniform([], seed, low, high + 1, tf.int32, alg="philox")
        pixels = image if image.dtype == tf.uint8 else tf.cast(tf.round(image), tf.uint8)
        data = tf.raw_ops.EncodeJpegVariableQuality(images=pixels, quality=quality)
        decoded = tf.io.decode_jpeg(data, image.shape[-1], dct_method="INTEGER_ACCURATE")
        return tf.ensure_shape(tf.cast(decoded, image.dtype), image.shape), mask
