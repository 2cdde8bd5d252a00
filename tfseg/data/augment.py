"""Random changes of a picture that leave its labels true: image and mask travel together, and masks are never mixed.

Each op is called `op(image, mask, seed, view)` inside the TensorFlow graph and draws from its own stateless `seed` only.
What it uncovers is `FILL` in the image and the ignore id in the mask.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator

from tfseg.spec.declare import BY_TYPE, spec

FILL = 115
"""Image value of pixels beyond the border: about the mean of photographs, so near zero once normalised."""

_LUMA = np.array([0.299, 0.587, 0.114])
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])

Pair = tuple[tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class View:
    """What the ops must know beside the picture: the crop that will be taken in the end, if any, and the ignore id."""

    ignore: int
    crop: tuple[int, int] | None = None


@spec
class Scale:
    """Resizes by a random factor: bilinear for the image, nearest for the mask, one grid for both."""

    type: Literal["scale"] = "scale"
    BEFORE_CROP: ClassVar[bool] = True
    min: Annotated[float, Field(gt=0)] = 0.5
    """The smallest factor."""
    max: Annotated[float, Field(gt=0)] = 2.0
    """The largest factor."""
    factors: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Draws from these instead of from the range."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min must not be above max. Received: min={self.min}, max={self.max}")
        if self.factors == ():
            raise ValueError("factors must name at least one factor. Received: factors=[]")
        return self

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """The scaled pair. With a crop to come, only a window of about the crop's size is cut out and scaled."""
        draws = tf.random.stateless_uniform([3], seed, alg="philox")
        factor = self._factor(draws[0])
        if view.crop is not None:
            wanted = tf.cast(tf.math.ceil(tf.cast(view.crop, tf.float32) / factor), tf.int32)
            image, mask = _window(image, mask, wanted, draws[1:])
        size = tf.maximum(tf.cast(tf.round(tf.cast(tf.shape(mask), tf.float32) * factor), tf.int32), 1)
        return _resized(image, size, "bilinear"), _resized(mask[:, :, None], size, "nearest")[:, :, 0]

    def _factor(self, draw: tf.Tensor) -> tf.Tensor:
        if self.factors is None:
            return self.min + draw * (self.max - self.min)
        return tf.constant(self.factors)[tf.cast(draw * len(self.factors), tf.int32)]


@spec
class Rotate:
    """Turns about the middle by a random angle. List it before `scale`, which may cut away what turning needs."""

    type: Literal["rotate"] = "rotate"
    BEFORE_CROP: ClassVar[bool] = True
    degrees: Annotated[float, Field(gt=0, le=180)] = 10.0
    """The largest angle, either way."""

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """The turned pair, of the same size."""
        angle = tf.random.stateless_uniform([], seed, -1, 1, alg="philox") * self.degrees * np.pi / 180
        cos, sin = tf.cos(angle), tf.sin(angle)
        middle = (tf.cast(tf.shape(mask), tf.float32) - 1) / 2
        y, x = middle[0], middle[1]
        transform = [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y, 0, 0]
        turned = _projected(tf.cast(image, tf.float32), transform, "BILINEAR", FILL)
        ids = _projected(mask[:, :, None], transform, "NEAREST", view.ignore)
        return tf.cast(tf.round(turned), tf.uint8), ids[:, :, 0]


@spec
class Flip:
    """Mirrors the picture at random."""

    type: Literal["flip"] = "flip"
    BEFORE_CROP: ClassVar[bool] = False
    axis: Literal["horizontal", "vertical"] = "horizontal"
    """Horizontal swaps left and right."""
    probability: Annotated[float, Field(gt=0, le=1)] = 0.5
    """How often."""

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """The pair, mirrored or as it was."""
        turned = (slice(None), slice(None, None, -1)) if self.axis == "horizontal" else slice(None, None, -1)
        chosen = tf.random.stateless_uniform([], seed, alg="philox") < self.probability
        return tf.cond(chosen, lambda: (image[turned], mask[turned]), lambda: (image, mask))


@spec
class Colour:
    """Changes brightness, contrast, saturation and hue: together one linear map of the colours of a picture."""

    type: Literal["colour"] = "colour"
    BEFORE_CROP: ClassVar[bool] = False
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.2
    """The largest shift, as a part of the full range."""
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """The largest relative change of differences from the picture's mean."""
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.2
    """The largest relative change of differences from grey. Needs 3 channels."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """The largest turn of the hue, as a part of the full circle. Needs 3 channels."""

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """The recoloured image with the mask as it was."""
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
        return tf.ensure_shape(_bytes(pixels + shift), image.shape), mask

    def _matrix(self, saturation: tf.Tensor, hue: tf.Tensor) -> tf.Tensor:
        """Saturation moves colours from or to their luma; hue turns the two chroma axes of YIQ."""
        angle, chroma = 2 * np.pi * self.hue * hue, 1 + self.saturation * saturation
        cos, sin = chroma * tf.cos(angle), chroma * tf.sin(angle)
        turn = tf.reshape(tf.stack([1.0, 0.0, 0.0, 0.0, cos, -sin, 0.0, sin, cos]), [3, 3])
        back, there = tf.constant(np.linalg.inv(_TO_YIQ), tf.float32), tf.constant(_TO_YIQ, tf.float32)
        return back @ turn @ there


Augment = Annotated[Scale | Rotate | Flip | Colour, BY_TYPE]


def cropped(image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, size: tuple[int, int], ignore: int) -> Pair:
    """A random window of `size`; what is smaller is filled up at the bottom and at the right."""
    image, mask = _window(image, mask, tf.constant(size), tf.random.stateless_uniform([2], seed, alg="philox"))
    missing = tf.maximum(tf.constant(size) - tf.shape(mask), 0)
    below, right = [0, missing[0]], [0, missing[1]]
    image = tf.pad(image, [below, right, [0, 0]], constant_values=tf.cast(FILL, image.dtype))
    mask = tf.pad(mask, [below, right], constant_values=ignore)
    return tf.ensure_shape(image, [*size, image.shape[-1]]), tf.ensure_shape(mask, size)


def _window(image: tf.Tensor, mask: tf.Tensor, size: tf.Tensor, draws: tf.Tensor) -> Pair:
    """The part of at most `size` whose place the two `draws` in [0, 1) choose."""
    have = tf.shape(mask)
    size = tf.minimum(size, have)
    start = tf.cast(draws * tf.cast(have - size + 1, tf.float32), tf.int32)
    stop = start + size
    part = (slice(start[0], stop[0]), slice(start[1], stop[1]))
    return image[part], mask[part]


def _bytes(pixels: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(tf.clip_by_value(pixels, 0, 255)), tf.uint8)


def _resized(image: tf.Tensor, size: tf.Tensor, method: str) -> tf.Tensor:
    resized = tf.image.resize(image, size, method)
    return _bytes(resized) if image.dtype == tf.uint8 and method == "bilinear" else resized


def _projected(image: tf.Tensor, transform: list[tf.Tensor], interpolation: str, fill: int) -> tf.Tensor:
    size = tf.shape(image)[:2]
    projected = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None], transforms=[tf.stack([tf.cast(t, tf.float32) for t in transform])], output_shape=size,
        fill_value=float(fill), interpolation=interpolation, fill_mode="CONSTANT",
    )[0]  # fmt: skip
    return tf.ensure_shape(projected, image.shape)
