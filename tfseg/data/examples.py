"""What a source gives: named examples, each read by its index inside the TensorFlow graph."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

Loaded = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
Ids = tuple[tf.Tensor, tf.Tensor]

NO_FAULT = ""
"""A fault travels beside the tensors as text, because a graph cannot catch an error; this text means that all is well."""


@dataclass(frozen=True)
class Examples:
    """The examples of one split, in file order.

    Args:
        names: what each example is called: a file's stem, or a number.
        files: the files that each example is read from, image first; empty for examples that are computed.
        channels: channels of an image.
        load: index (int64 scalar) to `(image uint8 [height, width, channels], mask int32 [height, width], fault)`.
        mask: index to `(mask, fault)` alone, for counting.
    """

    names: tuple[str, ...]
    files: tuple[tuple[str, ...], ...]
    channels: int
    load: Callable[[tf.Tensor], Loaded]
    mask: Callable[[tf.Tensor], Ids]

    @property
    def count(self) -> int:
        """The number of examples."""
        return len(self.names)


def first_fault(*faults: tf.Tensor) -> tf.Tensor:
    """The first text that is not empty, or the empty text."""
    texts = tf.stack(faults)
    return texts[tf.argmax(tf.cast(tf.strings.length(texts) > 0, tf.int32))]
