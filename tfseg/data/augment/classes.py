"""Sets of classes as boolean tables over all ids below the ignore label, for ops that select pixels by class."""

import numpy as np
import tensorflow as tf

from tfseg.data.augment.contract import View
from tfseg.ops.label_maps import split_source


def ids_of(names: tuple[str, ...] | None, view: View) -> tf.Tensor:
    """Returns the classes with the given names, or all but class 0, as a boolean table of shape `[ignore]`.

    >>> from tfseg.labels import Labels
    >>> view = View(ignore=3, labels=Labels(names=("ground", "disc", "ring"), ignore=3))
    >>> ids_of(("ring",), view).numpy().tolist(), ids_of(None, view).numpy().tolist()
    ([False, False, True], [False, True, True])

    Args:
        names: Class names, which need `View.labels`, or None.
        view: Ignore label and labels. All ids of classes are smaller than the ignore label.

    Raises:
        ValueError: If there are names, but `View.labels` is None or lacks one of them.
    """
    table = np.zeros(view.ignore, bool)
    if names is None:
        table[1:] = True
    elif view.labels is None or not set(names) <= set(view.labels.names):
        raise ValueError(f"expected `View.labels` with the classes {', '.join(names)}; received {view.labels}")
    else:
        table[[view.labels.names.index(name) for name in names]] = True
    return tf.constant(table)


def present(mask: tf.Tensor, ignore: int) -> tf.Tensor:
    """Returns the classes that have pixels in a mask `[height, width]`, as a boolean table of shape `[ignore]`."""
    ids, _ = split_source(tf.cast(tf.reshape(mask, [-1]), tf.int32))
    return tf.math.bincount(ids, minlength=ignore + 1, maxlength=ignore + 1)[:ignore] > 0


def chosen(candidates: tf.Tensor, number: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws `number` of the candidates without replacement; both tables are boolean tensors of shape `[ignore]`."""
    draws = tf.random.stateless_uniform(tf.shape(candidates), seed, alg="philox")
    order = tf.argsort(tf.where(candidates, draws, 2.0), stable=True)  # candidates first, in random order
    rank = tf.math.invert_permutation(order)
    return candidates & (rank < number)


def members(mask: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Returns which pixels of a mask `[height, width]` are of the classes of a table; ignored pixels are not."""
    ids, _ = split_source(tf.cast(mask, tf.int32))
    within = ids < tf.size(table)
    return within & tf.gather(table, tf.where(within, ids, 0))
