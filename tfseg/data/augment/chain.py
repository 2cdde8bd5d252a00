"""Augmentation ops and the crop, in order."""

from typing import Annotated, Any

import tensorflow as tf

from tfseg.data.augment.colors import ColorJitter
from tfseg.data.augment.contract import AugmentSpec, Pair, View
from tfseg.data.augment.crop import cropped
from tfseg.data.augment.geometry import Flip, Rotate, Scale
from tfseg.errors import DataError, reason
from tfseg.spec.declare import ByType

_CROP = 1 << 20
"""Value that is folded into the seed of the example for the crop; for an op, the value is its index in the list."""

Augment = Annotated[Scale | Rotate | Flip | ColorJitter, ByType(contract=AugmentSpec)]


def augmented(image: tf.Tensor, mask: tf.Tensor, key: tf.Tensor, ops: tuple[Any, ...], view: View) -> Pair:
    """Augments and crops. Each op has its own seed, so that its draws do not depend on the other ops.

    Args:
        image: Uint8 or float32 tensor of shape `[height, width, channels]`, 0 to 255.
        mask: Integer tensor of shape `[height, width]`.
        key: Int64 tensor of shape `[2]`, seed of the example.
        ops: Augmentation ops in order; those with `BEFORE_CROP` are applied first.
        view: Ignore label, size of the crop and fill value.
    """
    fold = tf.random.experimental.stateless_fold_in
    indexed = list(enumerate(ops))
    for index, op in (pair for pair in indexed if pair[1].BEFORE_CROP):
        image, mask = _applied(op, image, mask, fold(key, index), view)
    if view.crop is not None:
        image, mask = cropped(image, mask, fold(key, _CROP), view.crop, view.ignore, view.fill)
    for index, op in (pair for pair in indexed if not pair[1].BEFORE_CROP):
        image, mask = _applied(op, image, mask, fold(key, index), view)
    return image, mask


def _applied(op: AugmentSpec, image: tf.Tensor, mask: tf.Tensor, key: tf.Tensor, view: View) -> Pair:
    """Applies `op` and checks its outputs while the graph is traced, since a custom op may fail."""
    try:
        pair = op(image, mask, key, view)
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
