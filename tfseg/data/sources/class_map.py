"""Examples of several sources as one, with class ids mapped to those of the pipeline."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.data.examples import Checked, Examples, Listing, Loaded, Window, mask_dtype
from tfseg.labels import Labels

BYTE = 256
"""Minimum length of a table, so that a mask of uint8 needs no check of its values."""


def class_map(own: Labels, labels: Labels, renamed: Callable[[str], str | None]) -> np.ndarray:
    """Returns the id in `labels` per id in `own`, int32; the ignore label for classes that `labels` lacks.

    >>> own, labels = Labels(names=("sky", "tree")), Labels(names=("tree", "road"))
    >>> class_map(own, labels, lambda name: name)[:3].tolist()
    [255, 0, 255]

    Args:
        own: Labels of a source.
        labels: Labels of the pipeline.
        renamed: Function from a class name of the source to one of the pipeline, or None.
    """
    table = np.full(max(BYTE, own.ignore + 1), labels.ignore, np.int32)
    ids = {name: identity for identity, name in enumerate(labels.names)}
    for identity, name in enumerate(own.names):
        table[identity] = ids.get(renamed(name), labels.ignore)  # type: ignore[arg-type]  # None is no class
    return table


def with_classes(examples: Examples, table: np.ndarray, ignore: int) -> Examples:
    """Returns examples whose masks have the ids of `class_map`; invalid values, which are problems, become `ignore`."""
    dtype = mask_dtype(ignore)
    values = tf.constant(table, dtype)

    def mapped(ids: tf.Tensor) -> tf.Tensor:
        if ids.dtype == tf.uint8:
            return tf.gather(values, tf.cast(ids, tf.int32))
        ids = tf.cast(ids, tf.int32)
        valid = (ids >= 0) & (ids < len(table))
        return tf.where(valid, tf.gather(values, tf.where(valid, ids, 0)), tf.cast(ignore, dtype))

    def load(index: tf.Tensor, window: Window | None = None) -> Loaded:
        image, ids, problem = examples.loaded(index, window)
        return image, mapped(ids), problem

    def mask(index: tf.Tensor) -> Checked:
        ids, problem = examples.mask(index)
        return mapped(ids), problem

    return replace(examples, load=load, mask=mask, load_window=load)


def joined(listing: Listing, parts: Sequence[Examples]) -> Examples:
    """Returns the examples of several sources, one after the other, as those of `listing`."""
    counts = [part.count for part in parts]
    owners = tf.constant(np.repeat(np.arange(len(parts), dtype=np.int32), counts))
    numbers = tf.constant(np.concatenate([np.arange(count, dtype=np.int64) for count in counts]))

    def of_owner(functions: Sequence[Callable[..., Any]], index: tf.Tensor, *further: Any) -> Any:
        own = numbers[index]
        return tf.switch_case(owners[index], [partial(function, own, *further) for function in functions])

    def load(index: tf.Tensor, window: Window | None = None) -> Loaded:
        image, ids, problem = of_owner([part.loaded for part in parts], index, window)
        channels = image.shape[-1]
        return tf.ensure_shape(image, [None, None, channels]), tf.ensure_shape(ids, [None, None]), problem

    def mask(index: tf.Tensor) -> Checked:
        ids, problem = of_owner([part.mask for part in parts], index)
        return tf.ensure_shape(ids, [None, None]), problem

    return Examples(listing, load, mask, load_window=load)
