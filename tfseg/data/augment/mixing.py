"""Ops that mix an example with others of the same epoch. Every pixel and its label come from the same example."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import tensorflow as tf
from pydantic import Field

from tfseg.data.augment.classes import chosen, ids_of, members, present
from tfseg.data.augment.contract import MixSpec, Pair, View
from tfseg.spec.declare import spec

_fold = tf.random.experimental.stateless_fold_in
Probability = Annotated[float, Field(gt=0, le=1)]


@spec
class Mosaic(MixSpec):
    """Joins quarters of four examples at a random center (YOLOv4, Bochkovskiy et al. 2020, section 3.4).

    The example fills the top left, its partners the top right, the bottom left and the bottom right. Pixels keep their
    positions: the top left of the result is the top left part of the example, and so on.
    """

    type: Literal["mosaic"] = "mosaic"
    PARTNERS: ClassVar[int] = 3
    probability: Probability = 0.5
    """Probability of a mosaic."""
    margin: Annotated[float, Field(ge=0, le=0.5)] = 0.25
    """Minimum distance of the center from each border, as a fraction of height and width."""

    def __call__(self, pairs: Sequence[Pair], seed: tf.Tensor, view: View) -> Pair:
        """Returns the four quarters as one image and one mask."""
        size = tf.shape(pairs[0][1])
        draws = self.margin + (1 - 2 * self.margin) * tf.random.stateless_uniform([2], seed, alg="philox")
        center = tf.cast(tf.round(draws * tf.cast(size, tf.float32)), tf.int32)
        above, left = tf.range(size[0])[:, None] < center[0], tf.range(size[1])[None, :] < center[1]
        example, *others = pairs
        right, bottom, corner = others
        return _where(above, _where(left, example, right), _where(left, bottom, corner))


@spec
class CopyPaste(MixSpec):
    """Pastes all pixels of randomly chosen classes of another example (Ghiasi et al. 2021, for semantic masks).

    Of the given classes that the other example has, a random number of at least one is pasted. Without any of them, the
    example stays the same. Ignored pixels are never pasted.
    """

    type: Literal["copy_paste"] = "copy_paste"
    probability: Probability = 0.5
    """Probability of pasting."""
    classes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the classes to paste. Defaults to all classes but the first, which often is background."""
    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that the other example is flipped left-right first."""
    shift: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Maximum shift of the pasted pixels, as a fraction of height and width, in both directions. Pixels that are
    shifted out of the image are not pasted."""

    def __call__(self, pairs: Sequence[Pair], seed: tf.Tensor, view: View) -> Pair:
        """Returns the example with the pixels of the chosen classes of its partner."""
        (image, mask), other = pairs
        candidates = present(other[1], view.ignore) & ids_of(self.classes, view)
        count = tf.math.count_nonzero(candidates, dtype=tf.int32)
        draw = tf.random.stateless_uniform([], _fold(seed, 0), alg="philox")
        number = tf.minimum(1 + tf.cast(draw * tf.cast(count, tf.float32), tf.int32), count)
        table = chosen(candidates, number, _fold(seed, 1))
        pasted = members(other[1], table)
        moved, pasted = self._moved(other, pasted, _fold(seed, 2))
        return _where(pasted, moved, (image, mask))

    def _moved(self, pair: Pair, pasted: tf.Tensor, seed: tf.Tensor) -> tuple[Pair, tf.Tensor]:
        """Flips and shifts the other example and its pixels to paste."""
        parts: list[tf.Tensor] = [*pair, pasted]
        draws = tf.random.stateless_uniform([3], seed, alg="philox")
        if self.flip:
            flipped = draws[0] < self.flip
            parts = [tf.where(flipped, tf.reverse(part, [1]), part) for part in parts]
        if self.shift:
            size = tf.shape(pasted)
            steps = tf.cast(tf.round(self.shift * (2 * draws[1:] - 1) * tf.cast(size, tf.float32)), tf.int32)
            parts = [tf.roll(part, steps, [0, 1]) for part in parts]
            parts[2] &= _inside(size[0], steps[0])[:, None] & _inside(size[1], steps[1])[None, :]
        return (parts[0], parts[1]), parts[2]


@spec
class ClassMix(MixSpec):
    """Pastes all pixels of half of the classes of another example, rounded down (ClassMix, Olsson et al. 2021, 3.1).

    The classes are drawn at random from those that the other example has. Ignored pixels are never pasted.
    """

    type: Literal["class_mix"] = "class_mix"
    probability: Probability = 0.5
    """Probability of mixing."""

    def __call__(self, pairs: Sequence[Pair], seed: tf.Tensor, view: View) -> Pair:
        """Returns the example with the pixels of half of the classes of its partner."""
        example, other = pairs
        candidates = present(other[1], view.ignore)
        half = tf.math.count_nonzero(candidates, dtype=tf.int32) // 2
        return _where(members(other[1], chosen(candidates, half, seed)), other, example)


def _where(taken: tf.Tensor, pair: Pair, other: Pair) -> Pair:
    """Returns the pixels of `pair` where `taken` is true, and those of `other` elsewhere."""
    return tf.where(taken[..., None], pair[0], other[0]), tf.where(taken, pair[1], other[1])


def _inside(size: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Returns the positions, along one side, whose pixels `tf.roll` did not move across the border."""
    source = tf.range(size) - step
    return (source >= 0) & (source < size)
