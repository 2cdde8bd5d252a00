"""Augmentation by smooth distortion: random displacement fields and random grids."""

from typing import Annotated, ClassVar, Literal

import tensorflow as tf
from pydantic import Field

from tfseg.data.augment.contract import AugmentSpec, Pair, View
from tfseg.data.augment.probability import Probability, with_probability
from tfseg.data.augment.warping import warped
from tfseg.spec.declare import spec

_REACH = 4
"""Number of standard deviations at which the Gaussian of the displacement field is truncated."""


@spec
class Elastic(AugmentSpec):
    """Displaces pixels by a smooth random field, which is a Gaussian filter of white noise.

    Source: Simard et al. 2003, section 2, with `alpha` in pixels instead of a factor of the filtered noise. The mapping
    has no folds if `alpha` is much smaller than `sigma`. List `elastic` before `scale`.
    """

    type: Literal["elastic"] = "elastic"
    BEFORE_CROP: ClassVar[bool] = True
    alpha: Annotated[float, Field(ge=0, le=1000)] = 4.0
    """Standard deviation of the displacement along each axis, in pixels."""
    sigma: Annotated[float, Field(ge=1, le=10000)] = 20.0
    """Standard deviation of the Gaussian filter, in pixels: the scale of the field."""
    probability: Probability = 1.0
    """Probability of a distortion."""

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Distorts image and mask; the size stays the same."""
        height, width = tf.unstack(tf.shape(mask))
        moves = self.displacements(height, width, seed)
        rows, columns = tf.range(height)[:, None], tf.range(width)[None]
        return warped(image, mask, tf.cast(rows, tf.float32) + moves[0], tf.cast(columns, tf.float32) + moves[1], view)

    def displacements(self, height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns the displacements of rows and columns: a float tensor `[2, height, width]`.

        The noise has one value per `sigma` pixels instead of one per pixel. Its filtered field has the same covariance,
        to within 0.02 %, because a Gaussian has almost no frequencies that this grid does not represent.
        """
        down, right = self._weights(height), self._weights(width)
        shape = tf.stack([2, tf.shape(down)[1], tf.shape(right)[1]])
        noise = tf.random.stateless_normal(shape, seed, alg="philox")
        return self.alpha * tf.matmul(down @ noise, right, transpose_b=True)

    def _weights(self, length: tf.Tensor) -> tf.Tensor:
        """Returns the weights of the values of the noise for each pixel of an axis, with squares that sum to 1."""
        knots = tf.range(-_REACH, tf.cast(tf.cast(length, tf.float32) / self.sigma, tf.int32) + _REACH + 2)
        pixels = tf.cast(tf.range(length), tf.float32) / self.sigma
        weights = tf.exp(-0.5 * (pixels[:, None] - tf.cast(knots, tf.float32)) ** 2)
        return tf.math.l2_normalize(weights, 1)


@spec
class GridDistortion(AugmentSpec):
    """Stretches and compresses the rows and the columns of a grid by random factors; the borders stay fixed.

    List `grid_distortion` before `scale`.
    """

    type: Literal["grid_distortion"] = "grid_distortion"
    BEFORE_CROP: ClassVar[bool] = True
    steps: Annotated[int, Field(ge=2, le=1000)] = 5
    """Number of grid cells along each axis."""
    distortion: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Maximum relative change of the size of a cell, before the sizes are scaled to fill the image."""
    probability: Probability = 1.0
    """Probability of a distortion."""

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Distorts image and mask; the size stays the same."""
        height, width = tf.unstack(tf.shape(mask))
        draws = tf.random.stateless_uniform([2, self.steps], seed, -1, 1, alg="philox")
        rows, columns = self._positions(height, draws[0]), self._positions(width, draws[1])
        return warped(image, mask, rows[:, None], columns[None], view)

    def _positions(self, length: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Returns the input position of each output row or column, from 0 to `length - 1`."""
        sizes = 1 + self.distortion * draws
        sizes /= tf.reduce_sum(sizes)
        last = tf.cast(length - 1, tf.float32)
        cells = tf.cast(tf.range(length), tf.float32) * (self.steps / tf.maximum(last, 1))
        cell = tf.minimum(tf.cast(cells, tf.int32), self.steps - 1)
        starts = tf.gather(tf.cumsum(sizes, exclusive=True), cell)
        positions = last * (starts + (cells - tf.cast(cell, tf.float32)) * tf.gather(sizes, cell))
        return tf.minimum(positions, last)  # rounding errors must not reach beyond the image
