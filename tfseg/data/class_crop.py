"""Random crops chosen by the classes in them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import tensorflow as tf
from pydantic import Field

from tfseg.data.augment import Choice, Pair
from tfseg.data.counting import histogram
from tfseg.data.sampling import Temperature, rarity
from tfseg.labels import Labels
from tfseg.spec.declare import spec

Side = Annotated[int, Field(ge=1)]

REDRAWS = 10
"""Number of times that a crop is drawn again if one class covers too much of it, as in MMSegmentation."""

_fold = tf.random.experimental.stateless_fold_in


@spec
class ClassCrop:
    """Random crop that contains a pixel of a rare class, or in which no class covers too much."""

    size: Side | tuple[Side, Side]
    """Side of a square crop, or height and width."""
    around: Literal["rare"] | None = None
    """`rare`: the crop contains a random pixel of a class of the image, which is drawn with a probability proportional
    to `exp((1 - frequency) / temperature)`; the frequency is its fraction of the labeled pixels of the training split.
    Defaults to a random position."""
    max_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Maximum fraction of the labeled pixels of a crop that one class may cover. A crop with more, or without labeled
    pixels, is drawn again, up to 10 times. With 1, none is drawn again."""
    temperature: Temperature = 0.5
    """Temperature of `around: rare`. Large values draw all classes of an image equally often, small ones the rarest."""

    def __call__(self, labels: Labels, pixels: Callable[[], np.ndarray]) -> Choice | None:
        """Returns a function that chooses the crop, or None for crops at random positions.

        Args:
            labels: Labels.
            pixels: Function that returns the pixels per class of the training split. Called for `around: rare` only.
        """
        if not self.chooses:
            return None
        logits = None
        if self.around == "rare":
            counts = pixels()
            logits = rarity(counts / max(counts.sum(), 1), self.temperature)
        return ChosenWindow(self.sides, labels.count, labels.ignore, self.max_share, logits)

    @property
    def chooses(self) -> bool:
        """True if the classes in a crop matter."""
        return self.around is not None or self.max_share < 1

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


@dataclass(frozen=True)
class ChosenWindow:
    """Random window of an image, chosen by its classes. A function of the image, its mask and the seed alone.

    Args:
        size: Height and width. Smaller images are returned whole along the smaller side.
        classes: Integer, number of classes.
        ignore: Ignore label.
        max_share: Maximum fraction of the labeled pixels that one class may cover.
        logits: Float array of shape `[classes]`, logits of the classes of which the window contains a pixel; None for
            windows at random positions.
    """

    size: tuple[int, int]
    classes: int
    ignore: int
    max_share: float
    logits: np.ndarray | None

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor) -> Pair:
        """Returns the window.

        Args:
            image: Tensor of shape `[height, width, channels]`.
            mask: Integer tensor of shape `[height, width]`.
            seed: Integer tensor of shape `[2]`.
        """
        size = tf.minimum(tf.constant(self.size), tf.shape(mask))
        counts = histogram(mask, self.classes, self.ignore)[:-1]

        def drawn(number: tf.Tensor) -> tf.Tensor:
            lowest, highest = self._limits(mask, counts, size, _fold(seed, 2 * number))
            draws = tf.random.stateless_uniform([2], _fold(seed, 2 * number + 1), alg="philox")
            return lowest + tf.cast(draws * tf.cast(highest - lowest + 1, tf.float32), tf.int32)

        def unbalanced(number: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
            inside = histogram(cut(mask, start, size), self.classes, self.ignore)[:-1]
            limit = self.max_share * tf.cast(tf.reduce_sum(inside), tf.float32)
            return (tf.cast(tf.reduce_max(inside), tf.float32) > limit) | tf.equal(limit, 0)

        start = drawn(tf.constant(0))
        if self.max_share < 1:
            again = (tf.constant(1), start)
            _, start = tf.while_loop(
                unbalanced, lambda number, _: (number + 1, drawn(number)), again, maximum_iterations=REDRAWS
            )
        return cut(image, start, size), cut(mask, start, size)

    def _limits(self, mask: tf.Tensor, counts: tf.Tensor, size: tf.Tensor, seed: tf.Tensor) -> Pair:
        """Returns the first and the last position of the window: inside the image, and around a pixel of a class."""
        last = tf.shape(mask) - size
        if self.logits is None:
            return tf.zeros_like(last), last
        identity = _categorical(tf.where(counts > 0, tf.constant(self.logits, tf.float32), -np.inf), _fold(seed, 0))
        unlabeled = tf.equal(tf.reduce_sum(counts), 0)  # then any pixel will do
        pixel = _random_pixel(tf.equal(tf.cast(mask, tf.int32), identity) | unlabeled, _fold(seed, 1))
        return tf.maximum(pixel - size + 1, 0), tf.minimum(pixel, last)


def cut(values: tf.Tensor, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the window of `size` at `start`, both height and width, of an image or a mask."""
    stop = start + size
    return values[start[0] : stop[0], start[1] : stop[1]]


def _categorical(logits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws an index by the Gumbel-max trick, int32 scalar: the softmax of very different logits would underflow."""
    draws = tf.random.stateless_uniform(tf.shape(logits), seed, np.finfo(np.float32).tiny, 1, alg="philox")
    return tf.argmax(logits - tf.math.log(-tf.math.log(draws)), output_type=tf.int32)


def _random_pixel(wanted: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns row and column of a random pixel at which the mask `wanted` is true, int32 `[2]`."""
    per_row = tf.math.count_nonzero(wanted, 1)
    until = tf.cumsum(per_row)
    number = tf.random.stateless_uniform([1], seed, 0, until[-1], tf.int64, alg="philox")
    row = tf.searchsorted(until, number, side="right")[0]
    columns = tf.where(wanted[row])[:, 0]
    return tf.stack([row, tf.cast(columns[number[0] - until[row] + per_row[row]], tf.int32)])
