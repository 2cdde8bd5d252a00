"""Augmentation by erasing rectangles."""

from typing import Annotated, Literal

import tensorflow as tf
from pydantic import Field

from tfseg.data.augment.contract import AugmentSpec, Pair, View
from tfseg.data.augment.probability import ORDERED, Probability, aspect_factors, uniform, with_probability
from tfseg.spec.declare import spec

Fraction = Annotated[float, Field(ge=0, le=1)]


@spec
class Cutout(AugmentSpec):
    """Replaces random rectangles by the fill value `data.fill`.

    Sources: DeVries and Taylor 2017 (Cutout), Zhong et al. 2020 (random erasing: areas and aspect ratios).
    """

    type: Literal["cutout"] = "cutout"
    count: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of rectangles."""
    area: Annotated[tuple[Fraction, Fraction], ORDERED] = (0.02, 0.2)
    """Minimum and maximum area of a rectangle, as a fraction of the image."""
    aspect: Annotated[float, Field(ge=1, le=100)] = 3.0
    """Maximum ratio of the sides of a rectangle. Height / width is drawn log-uniformly from 1/aspect to aspect."""
    mask: Literal["ignore", "keep"] = "ignore"
    """`ignore` sets erased pixels of the mask to the ignore label, `keep` leaves the mask unchanged."""
    probability: Probability = 0.5
    """Probability of erasing."""

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Erases rectangles of the image and, unless `mask` is `keep`, of the mask."""
        erased = self._erased(tf.shape(mask), tf.random.stateless_uniform([4, self.count], seed, alg="philox"))
        image = tf.where(erased[:, :, None], tf.constant(view.fill, image.dtype), image)
        return image, mask if self.mask == "keep" else tf.where(erased, tf.constant(view.ignore, mask.dtype), mask)

    def _erased(self, shape: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Returns the pixels inside of a rectangle: a Boolean tensor `[height, width]`."""
        pixels = tf.cast(tf.reduce_prod(shape), tf.float32)
        sides = tf.sqrt(uniform(draws[0], self.area) * pixels) * aspect_factors(draws[1], self.aspect)
        sizes = tf.minimum(tf.cast(tf.round(sides), tf.int32), shape[:, None])
        starts = tf.cast(draws[2:] * tf.cast(shape[:, None] - sizes + 1, tf.float32), tf.int32)
        rows, columns = (_between(shape[axis], starts[axis], sizes[axis]) for axis in (0, 1))
        return tf.matmul(rows, columns, transpose_a=True) > 0


def _between(length: tf.Tensor, starts: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
    """Returns 1 for the positions of an axis inside of each range, otherwise 0: a float tensor `[ranges, length]`."""
    positions = tf.range(length)[None]
    return tf.cast((positions >= starts[:, None]) & (positions < (starts + sizes)[:, None]), tf.float32)
