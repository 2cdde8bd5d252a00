"""Calls of augmentation ops, with a check of their outputs: ops of plugins may fail or return something else."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfseg.data.augment.contract import Pair, View
from tfseg.errors import DataError, reason


def applied(op: Any, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
    """Applies an op to an image and its mask. Arguments are those of `AugmentSpec`."""
    return checked(op, lambda: op(image, mask, seed, view), image, mask)


def checked(op: Any, call: Callable[[], Any], image: tf.Tensor, mask: tf.Tensor) -> Pair:
    """Calls an op and checks its outputs while the graph is traced, since a custom op may fail.

    Args:
        op: Op, for error messages.
        call: Function without arguments that calls the op.
        image: Image whose dtype and channels the result must have.
        mask: Mask whose dtype the result gets.

    Raises:
        DataError: If the op fails, or does not return an image and a mask.
    """
    try:
        pair = call()
    except DataError:  # of an op inside a policy
        raise
    except Exception as error:
        raise DataError(f"data.augment: {op.type} fails ({reason(error)})") from error
    if not _is_pair(pair, image):
        raise DataError(
            f"data.augment: {op.type} must return an image, {image.dtype.name} [height, width, {image.shape[-1]}], and "
            f"a mask, integer [height, width]. Received: {pair}"
        )
    return pair[0], tf.cast(pair[1], mask.dtype)


def _is_pair(pair: Any, image: tf.Tensor) -> bool:
    """Returns whether `pair` is an image like `image`, and a mask."""
    values = tf.nest.flatten(pair)
    if len(values) != 2 or not all(isinstance(each, tf.Tensor) for each in values):
        return False
    result, mask = values
    fits = (result.dtype, result.shape.rank) == (image.dtype, 3) and result.shape[-1] in (None, image.shape[-1])
    return fits and mask.dtype.is_integer and mask.shape.rank == 2
