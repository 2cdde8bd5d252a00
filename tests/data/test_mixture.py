"""Order of the examples of several sources in an epoch."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf

from tfseg.data.mixture import Mixture

KEY = tf.constant([3, 0], tf.int64)


def epoch(mixture: Mixture, key: tf.Tensor = KEY) -> list[int]:
    """Returns the indices of an epoch, before its shuffle."""
    count = len(mixture.owners)
    found = tf.map_fn(lambda position: mixture.example(position, key), tf.range(count, dtype=tf.int64))
    return found.numpy().tolist()


def expected_positions(counts: list[int], weights: list[int]) -> list[int]:
    """Counts the positions of each source by a loop over positions, with exact fractions."""
    total = sum(counts)
    present = [weight if count else 0 for weight, count in zip(weights, counts, strict=True)]
    found = [0] * len(counts)
    for position in range(total):
        share, limit = Fraction(2 * position + 1, 2 * total), Fraction(0)
        for source, weight in enumerate(present):
            limit += Fraction(weight, sum(present))
            if share < limit:
                found[source] += 1
                break
    return found


@pytest.mark.parametrize(
    ("counts", "weights"),
    [([7, 3], [1, 1]), ([5, 5, 5], [1, 2, 4]), ([1, 9], [8, 1]), ([4, 0, 4], [1, 5, 3]), ([3], [2])],
)
def test_sources_have_positions_in_proportion_to_their_weights(counts: list[int], weights: list[int]) -> None:
    mixture = Mixture(np.repeat(np.arange(len(counts)), counts), tuple(map(float, weights)))
    assert mixture.positions.tolist() == expected_positions(counts, weights)
    owners = Counter(mixture.owners[epoch(mixture)].tolist())
    assert [owners[source] for source in range(len(counts))] == mixture.positions.tolist()


def test_a_source_repeats_its_examples_in_further_permutations() -> None:
    mixture = Mixture(np.repeat([0, 1], [3, 9]), (3.0, 1.0))
    first, *others = (epoch(mixture, tf.constant([3, number], tf.int64)) for number in range(4))
    assert sorted(first[:3]) == sorted(first[3:6]) == sorted(first[6:9]) == [0, 1, 2]
    assert len({tuple(first[start : start + 3]) for start in (0, 3, 6)}) > 1
    assert len(set(first[9:])) == 3 and min(first[9:]) >= 3
    assert all(other != first for other in others)
    assert epoch(mixture) == first


def test_small_weights_use_other_examples_in_every_epoch() -> None:
    mixture = Mixture(np.repeat([0, 1], [20, 20]), (3.0, 1.0))
    used = [set(epoch(mixture, tf.constant([3, number], tf.int64))[30:]) for number in range(12)]
    assert {len(each) for each in used} == {10} and set.union(*used) == set(range(20, 40))


def test_labeled_pixels_contain_the_source() -> None:
    mixture = Mixture(np.array([0, 1]), (1.0, 1.0), ((True, False), (True, True)))
    mask = tf.constant([[0, 1, 255]], tf.uint8)
    marked = [mixture.marked(mask, tf.constant(index, tf.int64), 255).numpy().tolist() for index in (0, 1)]
    assert marked == [[[65536, 65537, 255]], [[131072, 131073, 255]]]
    assert Mixture(mixture.owners, (1.0, 1.0)).marked(mask, tf.constant(1, tf.int64), 255) is mask
