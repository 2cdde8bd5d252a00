"""Order of the examples of several sources in an epoch, and the source of each pixel in the training masks."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from tfseg.data.shuffling import shuffled
from tfseg.ops.label_maps import with_source

Annotation = tuple[tuple[bool, ...], ...]
"""Boolean per source and class, whether the source annotates the class."""

_fold = tf.random.experimental.stateless_fold_in
_SOURCE = 1 << 23
"""Value that is folded into the seed of an epoch, plus the number of the source, for the order within the source."""


@dataclass(frozen=True)
class Mixture:
    """Examples of several sources, of which an epoch has numbers proportional to weights.

    An epoch has as many positions as there are examples. For `n` positions, position `p` belongs to the source at
    `(p + 0.5) / n` of the cumulative weights. Within a source, an epoch has a random permutation of its examples, of
    which it uses the first ones, or several permutations one after the other.

    Args:
        owners: Int array of shape `[examples]`, number of the source of each example, ascending.
        weights: Weight of each source; those of sources without examples have no effect.
        annotated: Classes that each source annotates; None if every source annotates all.
    """

    owners: np.ndarray
    weights: tuple[float, ...]
    annotated: Annotation | None = None

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of examples of each source, int64 `[sources]`."""
        return np.bincount(self.owners, minlength=len(self.weights)).astype(np.int64)

    @cached_property
    def starts(self) -> np.ndarray:
        """First position of each source, before shuffling, int64 `[sources + 1]`; the last one is the total."""
        present = np.where(self.counts > 0, np.asarray(self.weights, np.float64), 0.0)
        middles = (np.arange(len(self.owners)) + 0.5) / len(self.owners)
        inner = np.searchsorted(middles, np.cumsum(present / present.sum())[:-1])
        return np.array([0, *inner, len(self.owners)], np.int64)

    @property
    def positions(self) -> np.ndarray:
        """Number of examples of each source in an epoch, int64 `[sources]`."""
        return np.diff(self.starts)

    def example(self, position: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        """Returns the index of the example at a position of an epoch, before shuffling.

        Args:
            position: Int64 scalar.
            key: Int64 tensor of shape `[2]`, seed of the epoch.
        """
        ends, firsts = tf.constant(self.starts[1:]), tf.constant(np.cumsum(self.counts) - self.counts)
        source = tf.searchsorted(ends, position[None], side="right", out_type=tf.int64)[0]
        count = tf.constant(self.counts)[source]
        rank = position - tf.constant(self.starts)[source]
        own = _fold(_fold(key, _SOURCE + source), rank // count)
        return firsts[source] + shuffled(rank % count, count, own)

    def marked(self, mask: tf.Tensor, index: tf.Tensor, ignore: int) -> tf.Tensor:
        """Adds the source to the labeled pixels of a mask, if some source does not annotate all classes.

        Args:
            mask: Integer tensor of shape `[height, width]`.
            index: Int64 scalar, index of the example.
            ignore: Ignore label.

        Returns:
            The mask, int32 with the sources; `tfseg.ops.label_maps.split_source` undoes it.
        """
        if self.annotated is None:
            return mask
        ids, source = tf.cast(mask, tf.int32), tf.cast(tf.constant(self.owners)[index], tf.int32)
        return tf.where(tf.equal(ids, ignore), ids, with_source(ids, source))
