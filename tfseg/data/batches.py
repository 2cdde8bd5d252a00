"""Infinite stream of training examples, shuffled per epoch, in full batches.

The stream has no random state: shuffling and augmentation are functions of the seed, the epoch and the example alone.
Training can therefore resume at any step, and the number of threads does not change its results.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.data.augment import FILL, Chain, Pair, padding_value, with_fill, without
from tfseg.data.examples import Examples, Loaded, first_problem
from tfseg.data.mixture import Mixture
from tfseg.data.reading import read
from tfseg.data.sampling import drawn
from tfseg.data.shuffling import shuffled

_fold = tf.random.experimental.stateless_fold_in
_PARTNER = 1 << 21
"""Value that is folded into the seed of an example, plus the number of the partner, for each of its partners."""


@dataclass(frozen=True)
class ExampleStream:
    """Stream of training examples, numbered across epochs, each epoch padded to full batches.

    Args:
        examples: Training examples.
        batch_size: Integer, number of examples per batch.
        seed: Integer, seed of shuffling and augmentation.
        ignore: Ignore label.
        chain: Random augmentation and the crop; their key differs per example and epoch.
        fill: Value of padding pixels, for all channels or per channel.
        probabilities: Float64 array of shape `[examples]`, with which examples are drawn with replacement; None: each
            epoch has every example once, in random order.
        mixture: Sources of the examples, for a mixed dataset.
    """

    examples: Examples
    batch_size: int
    seed: int
    ignore: int
    chain: Chain
    fill: tuple[int, ...] = (FILL,)
    probabilities: np.ndarray | None = None
    mixture: Mixture | None = None

    @property
    def steps(self) -> int:
        """Number of batches per epoch."""
        return -(-self.examples.count // self.batch_size)

    def batches(self, epoch: int, step: int, count: int) -> tf.data.Dataset:
        """Returns `count` batches, starting at `step` of `epoch`, both counted from 0."""
        start = (epoch * self.steps + step) * self.batch_size
        examples = self.augmented(start, start + count * self.batch_size)
        return batched(examples, self.batch_size, self.ignore, self.fill)

    def augmented(self, start: int, stop: int) -> tf.data.Dataset:
        """Returns the augmented examples with the numbers from `start` up to `stop` (exclusive), unbatched."""
        return read(start, stop, self._load, self._files)

    def indices(self, epoch: int, step: int) -> list[int]:
        """Returns the indices of the examples in a batch, without padding examples."""
        positions = tf.range(self.steps * self.batch_size)[step * self.batch_size : (step + 1) * self.batch_size]
        positions = tf.cast(positions[positions < self.examples.count], tf.int64)
        order = tf.map_fn(lambda position: self._shuffled(position, tf.constant(epoch, tf.int64)), positions)
        return [int(index) for index in order]

    def _locate(self, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the epoch, the position in it, and whether the example only pads the batch."""
        size = self.steps * self.batch_size
        position, padding = padded_position(number % size, self.examples.count, self.batch_size)
        return number // size, position, padding

    def _shuffled(self, position: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        """Returns the index of example number `position` of an epoch, by a permutation that is computed, not stored.

        With `probabilities`, the example is drawn instead.

        For up to 65,536 examples, the op uses only 8 bits of each of its three seed values. Seed and epoch are
        therefore hashed to six values, which are used in two rounds: 48 bits.
        """
        if self.probabilities is not None:
            return drawn(self.probabilities, self.seed, epoch, position)
        key = tf.stack([tf.constant(self.seed, tf.int64), epoch])
        position = shuffled(position, tf.constant(self.examples.count, tf.int64), key)
        return position if self.mixture is None else self.mixture.example(position, key)

    def _load(self, number: tf.Tensor) -> tuple[Pair, tf.Tensor]:
        epoch, position, padding = self._locate(number)
        index = self._shuffled(position, epoch)
        key = self._key(epoch, index, position)
        cropped = _shared(self._cropped) if self.chain.partners else self._cropped
        image, mask, problem = cropped(index, key)

        def partner(count: int) -> Loaded:
            other = self._partner(position, epoch, key, count)
            return cropped(other, _fold(_fold(key, _PARTNER + count), other))

        image, mask, partner_problem = self.chain.finished(image, mask, key, partner)
        return (image, ignored_if(padding, mask, self.ignore)), first_problem(problem, partner_problem)

    def _cropped(self, index: tf.Tensor, key: tf.Tensor) -> Loaded:
        """Loads the part of an example that the crop needs, and applies the ops before the crop, and the crop."""
        image, mask, problem = self.examples.loaded(index, self.chain.window(key))
        image, mask = self.chain.cropped(*_valid(image, mask, problem), key)
        return image, mask if self.mixture is None else self.mixture.marked(mask, index, self.ignore), problem

    def _key(self, epoch: tf.Tensor, index: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """Returns the seed of an example in an epoch, int64 `[2]`. An example that is drawn twice has two seeds."""
        key = _fold(tf.stack([tf.constant(self.seed, tf.int64), epoch]), index)
        once = self.probabilities is None and self.mixture is None
        return key if once else _fold(key, position)

    def _partner(self, position: tf.Tensor, epoch: tf.Tensor, key: tf.Tensor, count: int) -> tf.Tensor:
        """Returns the index of another example of the epoch, or the same one if there is only one."""
        others = tf.constant(max(self.examples.count - 1, 1), tf.int64)
        offset = tf.random.stateless_uniform([], _fold(key, _PARTNER + count), 1, others + 1, tf.int64, alg="philox")
        return self._shuffled((position + offset) % self.examples.count, epoch)

    def _files(self, number: tf.Tensor) -> tf.Tensor:
        """Returns the files of an example and of its partners, one per line."""
        epoch, position, _ = self._locate(number)
        index = self._shuffled(position, epoch)
        key = self._key(epoch, index, position)
        others = [self._partner(position, epoch, key, count) for count in range(self.chain.partners)]
        files = _shared(self.examples.files) if others else self.examples.files
        return tf.strings.join([files(each) for each in (index, *others)], "\n")


def _shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that is traced and optimized once for several calls in a graph, since decoding is large."""
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


def whole(examples: Examples, batch_size: int, ignore: int, fill: tuple[int, ...] = (FILL,)) -> tf.data.Dataset:
    """Returns all examples in file order, without augmentation, in full batches."""

    def load(position: tf.Tensor) -> tuple[Pair, tf.Tensor]:
        index, padding = padded_position(position, examples.count, batch_size)
        image, mask, problem = examples.load(index)
        return (image, ignored_if(padding, mask, ignore)), problem

    stop = -(-examples.count // batch_size) * batch_size
    dataset = read(
        0, stop, load, lambda position: examples.files(padded_position(position, examples.count, batch_size)[0])
    )
    return batched(dataset, batch_size, ignore, fill)


def padded_position(position: tf.Tensor, count: int, batch: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the number of the example to read, and whether it is padding: a repeated example of the last batch."""
    last = (count - 1) // batch * batch
    padding = position >= count
    return tf.where(padding, last + (position - count) % (count - last), position), padding


def _valid(image: tf.Tensor, mask: tf.Tensor, problem: tf.Tensor) -> Pair:
    """Returns the pair, or one pixel if there is a problem, so that no op fails on the pair and hides the problem."""
    if image.shape.is_fully_defined():  # synthetic, or a box, which is blank if there is a problem
        return image, mask
    blank = (tf.zeros([1, 1, image.shape[-1]], image.dtype), tf.zeros([1, 1], mask.dtype))
    pair = tf.cond(tf.equal(problem, ""), lambda: (image, mask), lambda: blank)
    return tf.ensure_shape(pair[0], [None, None, image.shape[-1]]), tf.ensure_shape(pair[1], [None, None])


def ignored_if(padding: tf.Tensor, mask: tf.Tensor, ignore: int) -> tf.Tensor:
    """Returns the mask, or a mask filled with the ignore label if `padding` is true."""
    return tf.ensure_shape(
        tf.cond(padding, lambda: tf.fill(tf.shape(mask), tf.cast(ignore, mask.dtype)), lambda: mask), mask.shape
    )


def batched(
    examples: tf.data.Dataset, batch_size: int, ignore: int, fill: tuple[int, ...], *, drop_remainder: bool = True
) -> tf.data.Dataset:
    """Returns full batches with int32 masks; images of different sizes are padded at the bottom and at the right."""
    if batch_size == 1 or all(spec.shape.is_fully_defined() for spec in examples.element_spec):
        batches = examples.batch(batch_size, drop_remainder=drop_remainder)
        return batches.map(lambda image, mask: (image, tf.cast(mask, tf.int32)))
    image_spec, mask_spec = examples.element_spec
    values = (padding_value(image_spec.dtype), tf.constant(ignore, mask_spec.dtype))
    shifted = examples.map(lambda image, mask: (without(image, fill), mask))
    batches = shifted.padded_batch(batch_size, padding_values=values, drop_remainder=drop_remainder)
    return batches.map(lambda image, mask: (with_fill(image, fill), tf.cast(mask, tf.int32)))


def copied(image: tf.Tensor, mask: tf.Tensor, count: int, ignore: int) -> Pair:
    """Repeats a batch of one example `count` times; all pixels of the copies have the ignore label."""
    copies = tf.fill(tf.concat([[count - 1], tf.shape(mask)[1:]], 0), ignore)
    return tf.repeat(image, count, axis=0), tf.concat([mask, copies], axis=0)


def filled(image: tf.Tensor, mask: tf.Tensor, count: tf.Tensor, ignore: int) -> Pair:
    """Fills up a batch to `count` examples with copies of its own, all of whose pixels have the ignore label."""
    own, numbers = tf.shape(mask)[0], tf.range(count)

    def repeated() -> Pair:
        ids = tf.gather(mask, numbers % own)
        return tf.gather(image, numbers % own), tf.where(
            (numbers < own)[:, None, None], ids, tf.cast(ignore, ids.dtype)
        )

    return tf.cond(tf.equal(own, count), lambda: (image, mask), repeated)
