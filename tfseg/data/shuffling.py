"""Pseudorandom permutations, computed one position at a time."""

import tensorflow as tf


def shuffled(position: tf.Tensor, count: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Returns the index at a position of a random permutation of `count` indices.

    Args:
        position: Int64 scalar, from 0 to `count - 1`.
        count: Int64 scalar.
        key: Int64 tensor of shape `[2]`, seed of the permutation.
    """
    rounds = tf.random.stateless_uniform([2, 3], key, None, None, tf.uint32, alg="philox")
    for numbers in (rounds[0], rounds[1]):  # the public function accepts two seed values only
        position = tf.raw_ops.RandomIndexShuffle(index=position, seed=numbers, max_index=count - 1)
    return position
