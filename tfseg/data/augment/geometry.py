"""Geometric augmentation: scale, rotation and flip of an image and its mask by the same transformation."""

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator

from tfseg.data.augment.contract import AugmentSpec, Pair, View, like
from tfseg.data.augment.crop import random_window
from tfseg.images import cut
from tfseg.ops.resize import resize, resize_mask
from tfseg.spec.declare import spec
from tfseg.spec.problems import InvalidFields


@spec
class Scale(AugmentSpec):
    """Resizes by a random factor, with bilinear interpolation for the image and nearest neighbor for the mask."""

    type: Literal["scale"] = "scale"
    BEFORE_CROP: ClassVar[bool] = True
    min: Annotated[float, Field(gt=0)] = 0.5
    """Minimum factor."""
    max: Annotated[float, Field(gt=0)] = 2.0
    """Maximum factor."""
    factors: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Factors to draw from, instead of the range."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min > self.max:
            raise InvalidFields((("min",), f"expected at most max, which is {self.max}; received {self.min}"))
        if self.factors == ():
            raise InvalidFields((("factors",), "expected at least one factor; received none"))
        return self

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Scales image and mask. If a crop follows, scales only a random window just large enough for the crop."""
        if view.crop is not None:
            window = self.window(tf.shape(mask), seed, view.crop)
            image, mask = cut(image, window), cut(mask, window)
        factor, _ = self._drawn(seed)
        size = tf.maximum(tf.cast(tf.round(tf.cast(tf.shape(mask), tf.float32) * factor), tf.int32), 1)
        scaled = resize(tf.cast(image[None], tf.float32), (size[0], size[1]))[0]
        return like(scaled, image), resize_mask(mask, size)

    def window(self, full: tf.Tensor, seed: tf.Tensor, crop: tuple[int, int]) -> tf.Tensor:
        """Returns the random window of an image of size `full` that is just large enough for the crop."""
        factor, draws = self._drawn(seed)
        size = tf.cast(tf.math.ceil(tf.cast(crop, tf.float32) / factor), tf.int32)
        return random_window(full, size, draws)

    def _drawn(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the factor, and the two draws for the position of the window."""
        draws = tf.random.stateless_uniform([3], seed, alg="philox")
        if self.factors is None:
            return self.min + draws[0] * (self.max - self.min), draws[1:]
        return tf.constant(self.factors)[tf.cast(draws[0] * len(self.factors), tf.int32)], draws[1:]


@spec
class Rotate(AugmentSpec):
    """Rotates about the center by a random angle.

    List `rotate` before `scale`, which may crop pixels that `rotate` needs.
    """

    type: Literal["rotate"] = "rotate"
    BEFORE_CROP: ClassVar[bool] = True
    degrees: Annotated[float, Field(gt=0, le=180)] = 10.0
    """Maximum angle in degrees, in both directions."""

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Rotates image and mask; the size stays the same."""
        angle = tf.random.stateless_uniform([], seed, -1, 1, alg="philox") * self.degrees * np.pi / 180
        cos, sin = tf.cos(angle), tf.sin(angle)
        center = (tf.cast(tf.shape(mask), tf.float32) - 1) / 2
        y, x = center[0], center[1]
        transform = [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y, 0, 0]
        fill = tf.constant(view.fill, tf.float32)  # the op supports only one fill value for all channels
        rotated = _projected(tf.cast(image, tf.float32) - fill, transform, "BILINEAR", 0) + fill
        ids = _projected(mask[:, :, None], transform, "NEAREST", view.ignore)
        return like(rotated, image), ids[:, :, 0]


@spec
class Flip(AugmentSpec):
    """Randomly flips the image and its mask."""

    type: Literal["flip"] = "flip"
    axis: Literal["horizontal", "vertical"] = "horizontal"
    """`horizontal` is a left-right flip, `vertical` a top-bottom flip."""
    probability: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability of a flip."""

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Returns image and mask, flipped with the given probability."""
        axis = [1 if self.axis == "horizontal" else 0]
        flipped = tf.random.stateless_uniform([], seed, alg="philox") < self.probability
        return tf.cond(flipped, lambda: (tf.reverse(image, axis), tf.reverse(mask, axis)), lambda: (image, mask))


def _projected(image: tf.Tensor, transform: list[tf.Tensor], interpolation: str, fill: int) -> tf.Tensor:
    size = tf.shape(image)[:2]
    projected = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None], transforms=[tf.stack([tf.cast(t, tf.float32) for t in transform])], output_shape=size,
        fill_value=float(fill), interpolation=interpolation, fill_mode="CONSTANT",
    )[0]  # fmt: skip
    return tf.ensure_shape(projected, image.shape)
