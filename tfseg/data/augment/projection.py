"""Geometric augmentation by one projective transformation of an image and its mask."""

from typing import Annotated, ClassVar, Literal

import numpy as np
import tensorflow as tf
from pydantic import Field

from tfseg.data.augment.contract import AugmentSpec, Pair, View, like
from tfseg.data.augment.probability import ORDERED, Probability, aspect_factors, log_uniform, with_probability
from tfseg.spec.declare import spec

Factor = Annotated[float, Field(ge=0.01, le=100)]


@spec
class Rotate(AugmentSpec):
    """Rotates about the center by a random angle.

    List `rotate` before `scale`, which may crop pixels that `rotate` needs.
    """

    type: Literal["rotate"] = "rotate"
    BEFORE_CROP: ClassVar[bool] = True
    degrees: Annotated[float, Field(gt=0, le=180)] = 10.0
    """Maximum angle in degrees, in both directions."""
    probability: Probability = 1.0
    """Probability of a rotation."""

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Rotates image and mask; the size stays the same."""
        angle = tf.random.stateless_uniform([], seed, -1, 1, alg="philox") * self.degrees * np.pi / 180
        return _transformed(image, mask, _rotation(angle), tf.zeros([2]), view)


@spec
class Affine(AugmentSpec):
    """Scales, shears, rotates and shifts, in this order, about the center, with one interpolation.

    The size of the image stays the same. List `affine` before `scale`, which may crop pixels that `affine` needs.
    """

    type: Literal["affine"] = "affine"
    BEFORE_CROP: ClassVar[bool] = True
    scale: Annotated[tuple[Factor, Factor], ORDERED] = (0.8, 1.25)
    """Minimum and maximum factor of height and width, drawn log-uniformly."""
    aspect: Annotated[float, Field(ge=1, le=100)] = 1.0
    """Maximum change of the ratio of height to width, by a factor from 1/aspect to aspect; 1 keeps the ratio."""
    shear: Annotated[float, Field(ge=0, lt=45)] = 5.0
    """Maximum shear angle in degrees, along each axis, in both directions."""
    degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Maximum rotation in degrees, in both directions."""
    translate: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Maximum shift along each axis, as a fraction of height and width, in both directions."""
    probability: Probability = 1.0
    """Probability of a transformation."""

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Transforms image and mask; the size stays the same."""
        matrix, shift = self.drawn(seed)
        return _transformed(image, mask, tf.linalg.inv(matrix), shift * tf.cast(tf.shape(mask), tf.float32), view)

    def drawn(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws the transformation of positions `[row, column]` relative to the center.

        Returns:
            Matrix of shape `[2, 2]`, and shift of shape `[2]` as a fraction of height and width.
        """
        draws = tf.random.stateless_uniform([7], seed, alg="philox")
        signed = 2 * draws - 1
        factors = log_uniform(draws[0], self.scale) * aspect_factors(draws[1], self.aspect)
        tangents = tf.tan(signed[2:4] * self.shear * np.pi / 180)
        shear = tf.reshape(tf.stack([1.0, tangents[0], tangents[1], 1.0]), [2, 2])
        rotation = _rotation(signed[4] * self.degrees * np.pi / 180)
        return rotation @ shear @ tf.linalg.diag(factors), signed[5:] * self.translate


def _rotation(angle: tf.Tensor) -> tf.Tensor:
    cos, sin = tf.cos(angle), tf.sin(angle)
    return tf.reshape(tf.stack([cos, sin, -sin, cos]), [2, 2])


def _transformed(image: tf.Tensor, mask: tf.Tensor, inverse: tf.Tensor, shift: tf.Tensor, view: View) -> Pair:
    """Samples the input at `inverse @ (position - center - shift) + center` for each output position.

    Args:
        image: Image.
        mask: Mask.
        inverse: Tensor `[2, 2]`, matrix that maps output to input positions `[row, column]` relative to the center.
        shift: Tensor `[2]`, rows and columns by which the result is shifted.
        view: Ignore label and fill value.
    """
    center = (tf.cast(tf.shape(mask), tf.float32) - 1) / 2
    ((yy, yx), (xy, xx)), (y, x) = (tf.unstack(row) for row in tf.unstack(inverse)), tf.unstack(center)
    row, column = tf.unstack(center + shift)
    first = [x - xx * column - xy * row, y - yx * column - yy * row]  # input position of the first output pixel
    transform = tf.stack([xx, xy, first[0], yx, yy, first[1], 0, 0])  # columns first
    fill = tf.constant(view.fill, tf.float32)  # the op supports only one fill value for all channels
    pixels = _projected(tf.cast(image, tf.float32) - fill, transform, "BILINEAR", 0) + fill
    ids = _projected(mask[:, :, None], transform, "NEAREST", view.ignore)
    return like(pixels, image), ids[:, :, 0]


def _projected(image: tf.Tensor, transform: tf.Tensor, interpolation: str, fill: int) -> tf.Tensor:
    size = tf.shape(image)[:2]
    projected = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None], transforms=transform[None], output_shape=size, fill_value=float(fill),
        interpolation=interpolation, fill_mode="CONSTANT",
    )[0]  # fmt: skip
    return tf.ensure_shape(projected, image.shape)
