"""The endless row of training examples: epoch after epoch, shuffled by number, in full batches.

Nothing is drawn that is kept: which example stands where, and how it is changed, follows from the seed, the epoch and
the example alone. So a training that stops can go on anywhere, and the number of threads changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfseg.data.augment import FILL, Pair, with_fill, without
from tfseg.data.examples import Examples
from tfseg.data.reading import read

Change = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Pair]
"""`(image, mask, key)` to an augmented and cropped pair."""


@dataclass(frozen=True)
class ExampleStream:
    """Training examples numbered through all epochs, each epoch filled up to full batches.

    Args:
        examples: what to train on.
        batch_size: examples in a batch.
        seed: the seed of order and change.
        ignore: the ignore id.
        change: the random change; its key is the example's own in each epoch.
        fill: the value of pixels beyond the border, for all channels or for each.
    """

    examples: Examples
    batch_size: int
    seed: int
    ignore: int
    change: Change
    fill: tuple[int, ...] = (FILL,)

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-self.examples.count // self.batch_size)

    def batches(self, epoch: int, step: int, count: int) -> tf.data.Dataset:
        """`count` batches from the given one on; `epoch` and `step` count from 0."""
        start = (epoch * self.steps + step) * self.batch_size
        pictures = self.pictures(start, start + count * self.batch_size)
        return batched(pictures, self.batch_size, self.ignore, self.fill)

    def pictures(self, start: int, stop: int) -> tf.data.Dataset:
        """The changed examples number `start` up to `stop`, one by one."""
        return read(start, stop, self._load, lambda number: self.examples.files(self._place(number)[1]))

    def indices(self, epoch: int, step: int) -> list[int]:
        """The examples of a batch, without those that only fill it up."""
        positions = tf.range(self.steps * self.batch_size)[step * self.batch_size : (step + 1) * self.batch_size]
        positions = tf.cast(positions[positions < self.examples.count], tf.int64)
        return [int(index) for index in self._shuffled(positions, tf.constant(epoch, tf.int64))]

    def _place(self, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Epoch, example, and whether the example only fills up a batch."""
        size = self.steps * self.batch_size
        epoch, position = number // size, number % size
        position, filler = filled(position, self.examples.count, self.batch_size)
        return epoch, self._shuffled(position, epoch), filler

    def _shuffled(self, position: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        """Which example stands at a position of an epoch: a permutation that is computed, not stored.

        The operation uses 8 bits of each of three numbers where there are up to 65,536 examples. Six numbers that seed
        and epoch are hashed to, in two rounds, make 48 bits.
        """
        last = tf.constant(self.examples.count - 1, tf.int64)
        key = tf.stack([tf.constant(self.seed, tf.int64), epoch])
        rounds = tf.random.stateless_uniform([2, 3], key, None, None, tf.uint32, alg="philox")
        for numbers in (rounds[0], rounds[1]):  # the public function takes two numbers only
            position = tf.raw_ops.RandomIndexShuffle(index=position, seed=numbers, max_index=last)
        return position

    def _load(self, number: tf.Tensor) -> tuple[Pair, tf.Tensor]:
        epoch, index, filler = self._place(number)
        key = tf.stack([tf.constant(self.seed, tf.int64), epoch])
        key = tf.random.experimental.stateless_fold_in(key, index)
        image, mask, fault = self.examples.load(index)
        image, mask = self.change(*_sound(image, mask, fault), key)
        return (image, ignored_if(filler, mask, self.ignore)), fault


def whole(examples: Examples, batch_size: int, ignore: int, fill: tuple[int, ...] = (FILL,)) -> tf.data.Dataset:
    """All examples in file order, unchanged, in full batches."""

    def load(position: tf.Tensor) -> tuple[Pair, tf.Tensor]:
        index, filler = filled(position, examples.count, batch_size)
        image, mask, fault = examples.load(index)
        return (image, ignored_if(filler, mask, ignore)), fault

    stop = -(-examples.count // batch_size) * batch_size
    dataset = read(0, stop, load, lambda position: examples.files(filled(position, examples.count, batch_size)[0]))
    return batched(dataset, batch_size, ignore, fill)


def filled(position: tf.Tensor, count: int, batch: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Which position a picture is taken from, and whether it only fills up the last batch: with that batch's own."""
    last = (count - 1) // batch * batch
    filler = position >= count
    return tf.where(filler, last + (position - count) % (count - last), position), filler


def _sound(image: tf.Tensor, mask: tf.Tensor, fault: tf.Tensor) -> Pair:
    """The pair, or one pixel where there is a fault: an op that fails on a broken pair would hide what was wrong."""
    if image.shape.is_fully_defined():  # drawn, not read
        return image, mask
    blank = (tf.zeros([1, 1, image.shape[-1]], image.dtype), tf.zeros([1, 1], mask.dtype))
    pair = tf.cond(tf.equal(fault, ""), lambda: (image, mask), lambda: blank)
    return tf.ensure_shape(pair[0], [None, None, image.shape[-1]]), tf.ensure_shape(pair[1], [None, None])


def ignored_if(filler: tf.Tensor, mask: tf.Tensor, ignore: int) -> tf.Tensor:
    """The mask, or a mask of the ignore id."""
    return tf.ensure_shape(tf.cond(filler, lambda: tf.fill(tf.shape(mask), ignore), lambda: mask), mask.shape)


def batched(pictures: tf.data.Dataset, batch_size: int, ignore: int, fill: tuple[int, ...]) -> tf.data.Dataset:
    """Full batches; pictures of different sizes are filled up at the bottom and at the right."""
    if batch_size == 1 or all(spec.shape.is_fully_defined() for spec in pictures.element_spec):
        return pictures.batch(batch_size, drop_remainder=True)
    padding = (tf.constant(0, tf.uint8), tf.constant(ignore, tf.int32))
    moved = pictures.map(lambda image, mask: (without(image, fill), mask))
    batches = moved.padded_batch(batch_size, padding_values=padding, drop_remainder=True)
    return batches.map(lambda image, mask: (with_fill(image, fill), mask))


def copied(image: tf.Tensor, mask: tf.Tensor, count: int, ignore: int) -> Pair:
    """A batch of one as a batch of `count`: the pair, and copies of which every pixel is to be ignored."""
    copies = tf.fill(tf.concat([[count - 1], tf.shape(mask)[1:]], 0), ignore)
    return tf.repeat(image, count, axis=0), tf.concat([mask, copies], axis=0)
