"""Geometric augmentation: scale, padding, flip and rotation by right angles."""

from typing import Annotated, ClassVar, Literal, Self

import tensorflow as tf
from pydantic import Field, model_validator

from tfseg.data.augment.contract import AugmentSpec, Pair, View, like, padded
from tfseg.data.augment.crop import random_window
from tfseg.data.augment.probability import Probability, aspect_factors, with_probability
from tfseg.images import cut
from tfseg.ops.resize import resize, resize_mask
from tfseg.spec.declare import spec
from tfseg.spec.problems import InvalidFields

Side = Annotated[int, Field(ge=1, le=2**15)]


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
    aspect: Annotated[float, Field(ge=1, le=100)] = 1.0
    """Maximum change of the ratio of height to width, by a factor from 1/aspect to aspect; 1 keeps the ratio."""
    probability: Probability = 1.0
    """Probability of a change of size."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min > self.max:
            raise InvalidFields((("min",), f"expected at most max, which is {self.max}; received {self.min}"))
        if self.factors == ():
            raise InvalidFields((("factors",), "expected at least one factor; received none"))
        return self

    @with_probability
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
        """Returns the factors of height and width, and the two draws for the position of the window."""
        draws = tf.random.stateless_uniform([4], seed, alg="philox")
        if self.factors is None:
            factor = self.min + draws[0] * (self.max - self.min)
        else:
            factor = tf.constant(self.factors)[tf.cast(draws[0] * len(self.factors), tf.int32)]
        return factor * aspect_factors(draws[3], self.aspect), draws[1:3]


@spec
class Flip(AugmentSpec):
    """Randomly flips the image and its mask."""

    type: Literal["flip"] = "flip"
    axis: Literal["horizontal", "vertical"] = "horizontal"
    """`horizontal` is a left-right flip, `vertical` a top-bottom flip."""
    probability: Probability = 0.5
    """Probability of a flip."""

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Returns image and mask, flipped with the given probability."""
        axis = [1 if self.axis == "horizontal" else 0]
        flipped = tf.random.stateless_uniform([], seed, alg="philox") < self.probability
        return tf.cond(flipped, lambda: (tf.reverse(image, axis), tf.reverse(mask, axis)), lambda: (image, mask))


@spec
class Rot90(AugmentSpec):
    """Rotates by 90, 180 or 270 degrees, with equal probability, without interpolation.

    List `rot90` before `scale`, which may crop to the height and width of the crop.
    """

    type: Literal["rot90"] = "rot90"
    BEFORE_CROP: ClassVar[bool] = True
    probability: Probability = 0.75
    """Probability of a rotation. With 0.75, the four orientations are equally likely."""

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Rotates image and mask; 90 and 270 degrees exchange height and width."""
        quarter = tf.random.stateless_uniform([], seed, 0, 3, tf.int32, alg="philox")
        turns = (
            lambda: (tf.reverse(_transposed(image), [0]), tf.reverse(_transposed(mask), [0])),
            lambda: (tf.reverse(image, [0, 1]), tf.reverse(mask, [0, 1])),
            lambda: (tf.reverse(_transposed(image), [1]), tf.reverse(_transposed(mask), [1])),
        )
        return tf.switch_case(quarter, turns)


@spec
class Pad(AugmentSpec):
    """Pads to a size, with the image at a random position, or pads each side by a random fraction.

    The padding has the value `data.fill`, and is ignored. List `pad` before `scale`, so that it also widens the region
    that `scale` takes the crop from.
    """

    type: Literal["pad"] = "pad"
    BEFORE_CROP: ClassVar[bool] = True
    size: Side | tuple[Side, Side] | None = None
    """Minimum size of the result: side of a square, or height and width. Larger images stay the same."""
    fraction: Annotated[float, Field(ge=0, le=4)] | None = None
    """Maximum padding of each side, as a fraction of height or width, drawn for each side. Defaults to 0.25 without
    `size`."""
    probability: Probability = 1.0
    """Probability of padding."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.size is not None and self.fraction is not None:
            raise InvalidFields((("fraction",), f"expected size or fraction; received {self.size} and {self.fraction}"))
        return self

    @with_probability
    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Pads image and mask."""
        draws = tf.random.stateless_uniform([2, 2], seed, alg="philox")
        sides = self._by_fraction(tf.shape(mask), draws) if self.size is None else self._to_size(tf.shape(mask), draws)
        pixels = padded(image, tf.pad(sides, [[0, 1], [0, 0]]), view.fill)
        pixels = tf.ensure_shape(pixels, [None, None, image.shape[-1]])
        return pixels, tf.pad(mask, sides, constant_values=view.ignore)

    def _by_fraction(self, shape: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Returns the padding before and after each axis: an int32 tensor `[2, 2]`."""
        limit = (0.25 if self.fraction is None else self.fraction) * tf.cast(shape, tf.float32)
        return tf.cast(tf.round(draws * limit[:, None]), tf.int32)

    def _to_size(self, shape: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        missing = tf.maximum(tf.constant(size) - shape, 0)
        before = tf.cast(draws[:, 0] * tf.cast(missing + 1, tf.float32), tf.int32)
        return tf.stack([before, missing - before], 1)


def _transposed(x: tf.Tensor) -> tf.Tensor:
    """Exchanges the axes of height and width."""
    return tf.transpose(x, [1, 0, *range(2, x.shape.rank)])
