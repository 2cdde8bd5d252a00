"""Random augmentation of image and mask by the same transformation; ids of masks are never interpolated.

Each op is called as `op(image, mask, seed, view)` inside the TensorFlow graph and draws random numbers from its own
stateless `seed` only. Pixels from outside the image become `View.fill` in the image and the ignore label in the mask.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator

from tfseg.errors import DataError, reason
from tfseg.ops.resize import resize
from tfseg.spec.declare import ByType, spec
from tfseg.spec.problems import InvalidFields

FILL = 115
"""Default value of padding pixels: approximately the mean of photographs, so near zero after normalization."""

_CROP = 1 << 20
"""Value that is folded into the seed of the example for the crop; for an op, the value is its index in the list."""

_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])

Pair = tuple[tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class View:
    """Ignore label, crop size and fill value, for augmentation ops.

    Args:
        ignore: Ignore label.
        crop: Height and width of the crop that follows, if any.
        fill: Value of padding pixels, for all channels or per channel.
    """

    ignore: int
    crop: tuple[int, int] | None = None
    fill: tuple[int, ...] = (FILL,)


class AugmentSpec:
    """Base class of augmentation ops. A custom op needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)
    BEFORE_CROP: ClassVar[bool] = False
    """True for ops that are applied before the crop because they need pixels around it."""

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Returns the augmented image and mask.

        Args:
            image: Uint8 tensor of shape `[height, width, channels]`.
            mask: Int32 tensor of shape `[height, width]`.
            seed: Int32 tensor of shape `[2]`, seed for TensorFlow's stateless random functions, the only source of
                randomness.
            view: Ignore label, size of the crop and fill value.
        """
        raise NotImplementedError


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
        draws = tf.random.stateless_uniform([3], seed, alg="philox")
        factor = self._factor(draws[0])
        if view.crop is not None:
            window = tf.cast(tf.math.ceil(tf.cast(view.crop, tf.float32) / factor), tf.int32)
            image, mask = _window(image, mask, window, draws[1:])
        size = tf.maximum(tf.cast(tf.round(tf.cast(tf.shape(mask), tf.float32) * factor), tf.int32), 1)
        scaled = resize(tf.cast(image[None], tf.float32), (size[0], size[1]))[0]
        return _bytes(scaled), resize(mask[None, :, :, None], (size[0], size[1]), "nearest")[0, :, :, 0]

    def _factor(self, draw: tf.Tensor) -> tf.Tensor:
        if self.factors is None:
            return self.min + draw * (self.max - self.min)
        return tf.constant(self.factors)[tf.cast(draw * len(self.factors), tf.int32)]


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
        return _bytes(rotated), ids[:, :, 0]


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
        return tf.ensure_shape(_bytes(pixels + shift), image.shape), mask

    def _matrix(self, saturation: tf.Tensor, hue: tf.Tensor) -> tf.Tensor:
        """Returns the color matrix: saturation scales the two chroma axes of YIQ, hue rotates them."""
        angle, chroma = 2 * np.pi * self.hue * hue, 1 + self.saturation * saturation
        cos, sin = chroma * tf.cos(angle), chroma * tf.sin(angle)
        rotation = tf.reshape(tf.stack([1.0, 0.0, 0.0, 0.0, cos, -sin, 0.0, sin, cos]), [3, 3])
        to_rgb, to_yiq = tf.constant(np.linalg.inv(_TO_YIQ), tf.float32), tf.constant(_TO_YIQ, tf.float32)
        return to_rgb @ rotation @ to_yiq


Augment = Annotated[Scale | Rotate | Flip | ColorJitter, ByType(contract=AugmentSpec)]


def augmented(image: tf.Tensor, mask: tf.Tensor, key: tf.Tensor, ops: tuple[Any, ...], view: View) -> Pair:
    """Augments and crops. Each op has its own seed, so that its draws do not depend on the other ops.

    Args:
        image: Uint8 tensor of shape `[height, width, channels]`.
        mask: Int32 tensor of shape `[height, width]`.
        key: Int64 tensor of shape `[2]`, seed of the example.
        ops: Augmentation ops in order; those with `BEFORE_CROP` are applied first.
        view: Ignore label, size of the crop and fill value.
    """
    fold = tf.random.experimental.stateless_fold_in
    indexed = list(enumerate(ops))
    for index, op in (pair for pair in indexed if pair[1].BEFORE_CROP):
        image, mask = _applied(op, image, mask, fold(key, index), view)
    if view.crop is not None:
        image, mask = cropped(image, mask, fold(key, _CROP), view.crop, view.ignore, view.fill)
    for index, op in (pair for pair in indexed if not pair[1].BEFORE_CROP):
        image, mask = _applied(op, image, mask, fold(key, index), view)
    return image, mask


def _applied(op: AugmentSpec, image: tf.Tensor, mask: tf.Tensor, key: tf.Tensor, view: View) -> Pair:
    """Applies `op` and checks its outputs while the graph is traced, since a custom op may fail."""
    try:
        pair = op(image, mask, key, view)
    except Exception as error:
        raise DataError(f"data.augment: {op.type} fails ({reason(error)})") from error
    specs = [(each.dtype, each.shape.rank) if isinstance(each, tf.Tensor) else each for each in tf.nest.flatten(pair)]
    if specs != [(tf.uint8, 3), (tf.int32, 2)] or pair[0].shape[-1] not in (None, image.shape[-1]):
        raise DataError(
            f"data.augment: {op.type} must return an image, uint8 [height, width, {image.shape[-1]}], and a mask, "
            f"int32 [height, width]. Received: {pair}"
        )
    return pair


def cropped(
    image: tf.Tensor,
    mask: tf.Tensor,
    seed: tf.Tensor,
    size: tuple[int, int],
    ignore: int,
    fill: tuple[int, ...] = (FILL,),
) -> Pair:
    """Crops a random window of `size`; smaller images are padded at the bottom and at the right."""
    image, mask = _window(image, mask, tf.constant(size), tf.random.stateless_uniform([2], seed, alg="philox"))
    missing = tf.maximum(tf.constant(size) - tf.shape(mask), 0)
    below, right = [0, missing[0]], [0, missing[1]]
    image = with_fill(tf.pad(without(image, fill), [below, right, [0, 0]]), fill)
    mask = tf.pad(mask, [below, right], constant_values=ignore)
    return tf.ensure_shape(image, [*size, image.shape[-1]]), tf.ensure_shape(mask, size)


def without(image: tf.Tensor, fill: tuple[int, ...]) -> tf.Tensor:
    """Subtracts `fill` from uint8 pixels, modulo 256, so that `with_fill` turns zero padding into `fill`."""
    return image - tf.constant(fill, image.dtype)


def with_fill(image: tf.Tensor, fill: tuple[int, ...]) -> tf.Tensor:
    """Undoes `without`. TensorFlow pads with one value, but `fill` may have one per channel."""
    return image + tf.constant(fill, image.dtype)


def _window(image: tf.Tensor, mask: tf.Tensor, size: tf.Tensor, draws: tf.Tensor) -> Pair:
    """Returns the window of at most `size` at the position given by the two `draws` in [0, 1)."""
    full = tf.shape(mask)
    size = tf.minimum(size, full)
    start = tf.cast(draws * tf.cast(full - size + 1, tf.float32), tf.int32)
    stop = start + size
    window = (slice(start[0], stop[0]), slice(start[1], stop[1]))
    return image[window], mask[window]


def _bytes(pixels: tf.Tensor) -> tf.Tensor:
    """Rounds to uint8 and clips to 0..255. The cast truncates; adding 0.5 makes it round."""
    return tf.saturate_cast(pixels + 0.5, tf.uint8)


def _projected(image: tf.Tensor, transform: list[tf.Tensor], interpolation: str, fill: int) -> tf.Tensor:
    size = tf.shape(image)[:2]
    projected = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None], transforms=[tf.stack([tf.cast(t, tf.float32) for t in transform])], output_shape=size,
        fill_value=float(fill), interpolation=interpolation, fill_mode="CONSTANT",
    )[0]  # fmt: skip
    return tf.ensure_shape(projected, image.shape)
