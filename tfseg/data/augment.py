"""Random changes of a picture that leave its labels true: image and mask travel together, masks are never mixed.

Each op is called `op(image, mask, seed, view)` inside the TensorFlow graph and draws from its own stateless `seed`
only. What it uncovers is `View.fill` in the image and the ignore id in the mask.
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
"""Image value of pixels beyond the border: about the mean of photographs, so near zero once normalized."""

_CROP = 1 << 20
"""The number of the crop's own random numbers; ops count from 0."""

_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])

Pair = tuple[tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class View:
    """What the ops must know beside the picture.

    Args:
        ignore: the ignore id.
        crop: height and width of the crop that will be taken in the end, if any.
        fill: the value of pixels beyond the border, for all channels or for each.
    """

    ignore: int
    crop: tuple[int, int] | None = None
    fill: tuple[int, ...] = (FILL,)


class AugmentSpec:
    """A random change of a picture. One of your own needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)
    BEFORE_CROP: ClassVar[bool] = False
    """Whether it needs the surroundings of the crop."""

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """The changed pair: image uint8 `[height, width, channels]`, mask int32 `[height, width]`.

        Args:
            image: as the source gave it, or the operation before.
            mask: likewise.
            seed: int32 `[2]`, all that it may draw from, by TensorFlow's stateless functions.
            view: what else it must know.
        """
        raise NotImplementedError


@spec
class Scale(AugmentSpec):
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
            raise InvalidFields((("min",), f"expected at most max, which is {self.max}; received {self.min}"))
        if self.factors == ():
            raise InvalidFields((("factors",), "expected at least one factor; received none"))
        return self

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """The scaled pair. With a crop to come, only a window of about the crop's size is cut out and scaled."""
        draws = tf.random.stateless_uniform([3], seed, alg="philox")
        factor = self._factor(draws[0])
        if view.crop is not None:
            wanted = tf.cast(tf.math.ceil(tf.cast(view.crop, tf.float32) / factor), tf.int32)
            image, mask = _window(image, mask, wanted, draws[1:])
        size = tf.maximum(tf.cast(tf.round(tf.cast(tf.shape(mask), tf.float32) * factor), tf.int32), 1)
        scaled = resize(tf.cast(image[None], tf.float32), (size[0], size[1]))[0]
        return _bytes(scaled), resize(mask[None, :, :, None], (size[0], size[1]), "nearest")[0, :, :, 0]

    def _factor(self, draw: tf.Tensor) -> tf.Tensor:
        if self.factors is None:
            return self.min + draw * (self.max - self.min)
        return tf.constant(self.factors)[tf.cast(draw * len(self.factors), tf.int32)]


@spec
class Rotate(AugmentSpec):
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
        fill = tf.constant(view.fill, tf.float32)  # of which there may be several, where the op takes one number
        turned = _projected(tf.cast(image, tf.float32) - fill, transform, "BILINEAR", 0) + fill
        ids = _projected(mask[:, :, None], transform, "NEAREST", view.ignore)
        return _bytes(turned), ids[:, :, 0]


@spec
class Flip(AugmentSpec):
    """Mirrors the picture at random."""

    type: Literal["flip"] = "flip"
    axis: Literal["horizontal", "vertical"] = "horizontal"
    """Horizontal swaps left and right."""
    probability: Annotated[float, Field(gt=0, le=1)] = 0.5
    """How often."""

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """The pair, mirrored or as it was."""
        axis = [1 if self.axis == "horizontal" else 0]
        chosen = tf.random.stateless_uniform([], seed, alg="philox") < self.probability
        return tf.cond(chosen, lambda: (tf.reverse(image, axis), tf.reverse(mask, axis)), lambda: (image, mask))


@spec
class ColorJitter(AugmentSpec):
    """Changes brightness, contrast, saturation and hue: together one linear map of the colors of a picture."""

    type: Literal["color_jitter"] = "color_jitter"
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.2
    """The largest shift, as a part of the full range."""
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """The largest relative change of differences from the picture's mean."""
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.2
    """The largest relative change of differences from gray. Needs 3 channels."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """The largest turn of the hue, as a part of the full circle. Needs 3 channels."""

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """The recolored image with the mask as it was."""
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
        """Saturation moves colors from or to their luma; hue turns the two chroma axes of YIQ."""
        angle, chroma = 2 * np.pi * self.hue * hue, 1 + self.saturation * saturation
        cos, sin = chroma * tf.cos(angle), chroma * tf.sin(angle)
        turn = tf.reshape(tf.stack([1.0, 0.0, 0.0, 0.0, cos, -sin, 0.0, sin, cos]), [3, 3])
        back, there = tf.constant(np.linalg.inv(_TO_YIQ), tf.float32), tf.constant(_TO_YIQ, tf.float32)
        return back @ turn @ there


Augment = Annotated[Scale | Rotate | Flip | ColorJitter, ByType(contract=AugmentSpec)]


def changed(image: tf.Tensor, mask: tf.Tensor, key: tf.Tensor, ops: tuple[Any, ...], view: View) -> Pair:
    """Augments and crops. Every op has its own seed, so that the draws of one do not depend on the others.

    Args:
        image: uint8 `[height, width, channels]`.
        mask: int32 `[height, width]`.
        key: the example's own seed, int64 `[2]`.
        ops: the ops, in order; those with `BEFORE_CROP` come first.
        view: the crop and the ignore id.
    """
    fold = tf.random.experimental.stateless_fold_in
    numbered = list(enumerate(ops))
    for number, op in (pair for pair in numbered if pair[1].BEFORE_CROP):
        image, mask = _applied(op, image, mask, fold(key, number), view)
    if view.crop is not None:
        image, mask = cropped(image, mask, fold(key, _CROP), view.crop, view.ignore, view.fill)
    for number, op in (pair for pair in numbered if not pair[1].BEFORE_CROP):
        image, mask = _applied(op, image, mask, fold(key, number), view)
    return image, mask


def _applied(op: AugmentSpec, image: tf.Tensor, mask: tf.Tensor, key: tf.Tensor, view: View) -> Pair:
    """What `op` makes, looked at while the graph is made; one of a user's own may fail, or give something else."""
    try:
        pair = op(image, mask, key, view)
    except Exception as error:
        raise DataError(f"data.augment: {op.type} fails ({reason(error)})") from error
    forms = [(each.dtype, each.shape.rank) if isinstance(each, tf.Tensor) else each for each in tf.nest.flatten(pair)]
    if forms != [(tf.uint8, 3), (tf.int32, 2)] or pair[0].shape[-1] not in (None, image.shape[-1]):
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
    """A random window of `size`; what is smaller is filled up at the bottom and at the right."""
    image, mask = _window(image, mask, tf.constant(size), tf.random.stateless_uniform([2], seed, alg="philox"))
    missing = tf.maximum(tf.constant(size) - tf.shape(mask), 0)
    below, right = [0, missing[0]], [0, missing[1]]
    image = with_fill(tf.pad(without(image, fill), [below, right, [0, 0]]), fill)
    mask = tf.pad(mask, [below, right], constant_values=ignore)
    return tf.ensure_shape(image, [*size, image.shape[-1]]), tf.ensure_shape(mask, size)


def without(image: tf.Tensor, fill: tuple[int, ...]) -> tf.Tensor:
    """uint8 pixels less `fill`, modulo 256: zeros that are put beside them become `fill` in `with_fill`."""
    return image - tf.constant(fill, image.dtype)


def with_fill(image: tf.Tensor, fill: tuple[int, ...]) -> tf.Tensor:
    """What `without` made, as it was: TensorFlow pads with one number, and there may be one for each channel."""
    return image + tf.constant(fill, image.dtype)


def _window(image: tf.Tensor, mask: tf.Tensor, size: tf.Tensor, draws: tf.Tensor) -> Pair:
    """The part of at most `size` whose place the two `draws` in [0, 1) choose."""
    have = tf.shape(mask)
    size = tf.minimum(size, have)
    start = tf.cast(draws * tf.cast(have - size + 1, tf.float32), tf.int32)
    stop = start + size
    part = (slice(start[0], stop[0]), slice(start[1], stop[1]))
    return image[part], mask[part]


def _bytes(pixels: tf.Tensor) -> tf.Tensor:
    """Rounded and cut off at 0 and 255; the cast drops what follows the point."""
    return tf.saturate_cast(pixels + 0.5, tf.uint8)


def _projected(image: tf.Tensor, transform: list[tf.Tensor], interpolation: str, fill: int) -> tf.Tensor:
    size = tf.shape(image)[:2]
    projected = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None], transforms=[tf.stack([tf.cast(t, tf.float32) for t in transform])], output_shape=size,
        fill_value=float(fill), interpolation=interpolation, fill_mode="CONSTANT",
    )[0]  # fmt: skip
    return tf.ensure_shape(projected, image.shape)
