"""Augmentation ops and the crop, in order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import tensorflow as tf

from tfseg.data.augment.colors import ColorJitter
from tfseg.data.augment.contract import AugmentSpec, Pair, View
from tfseg.data.augment.crop import crop_window, cropped
from tfseg.data.augment.geometry import Flip, Rotate, Scale
from tfseg.data.examples import VALID, Loaded, Window, first_problem
from tfseg.errors import DataError, reason
from tfseg.spec.declare import ByType

Partner = Callable[[int], Loaded]
"""Function from the number of a partner to its image, mask and problem."""

_fold = tf.random.experimental.stateless_fold_in
_CROP = 1 << 20
"""Value that is folded into the seed of the example for the crop; for an op, the value is its index in the list."""

Augment = Annotated[Scale | Rotate | Flip | ColorJitter, ByType(contract=AugmentSpec)]


@dataclass(frozen=True)
class Chain:
    """Augmentation ops in order and the crop. Each op has its own seed, so that its draws do not depend on other ops.

    Args:
        ops: Augmentation ops. Those with `BEFORE_CROP` are applied first.
        view: Ignore label, size of the crop and fill value.
    """

    ops: tuple[Any, ...]
    view: View

    @property
    def partners(self) -> int:
        """Number of other examples that the ops mix into an example."""
        return sum(getattr(op, "PARTNERS", 0) for op in self.ops)

    def cropped(self, image: tf.Tensor, mask: tf.Tensor, key: tf.Tensor) -> Pair:
        """Applies the ops before the crop, and crops.

        Args:
            image: Uint8 or float32 tensor of shape `[height, width, channels]`, 0 to 255.
            mask: Integer tensor of shape `[height, width]`.
            key: Int64 tensor of shape `[2]`, seed of the example.
        """
        for index, op in self._indexed(before_crop=True):
            image, mask = _applied(op, image, mask, _fold(key, index), self.view)
        if self.view.crop is None:
            return image, mask
        return cropped(image, mask, _fold(key, _CROP), self.view.crop, self.view.ignore, self.view.fill)

    def window(self, key: tf.Tensor) -> Window | None:
        """Returns a function from the size of an image to the window of it that `cropped` uses; None if that is all.

        `cropped` returns the same for the image and for the window.
        """
        if self.view.crop is None:
            return None
        crop, before = self.view.crop, self._indexed(before_crop=True)
        if not before:
            return lambda size: crop_window(size, _fold(key, _CROP), crop)
        index, op = before[0]
        if not isinstance(op, Scale):  # the op may need all pixels
            return None
        return lambda size: op.window(size, _fold(key, index), crop)

    def finished(self, image: tf.Tensor, mask: tf.Tensor, key: tf.Tensor, partner: Partner) -> Loaded:
        """Applies the ops after the crop.

        Args:
            image: Image returned by `cropped`.
            mask: Mask returned by `cropped`.
            key: Int64 tensor of shape `[2]`, seed of the example.
            partner: Function that returns another example of the epoch, loaded and cropped, by its number.

        Returns:
            Image, mask, and the first problem of a partner: a message, empty if all are valid.
        """
        number, problem = 0, tf.constant(VALID)
        for index, op in self._indexed(before_crop=False):
            seed, count = _fold(key, index), getattr(op, "PARTNERS", 0)
            if not count:
                image, mask = _applied(op, image, mask, seed, self.view)
                continue
            image, mask, found = _mixed(op, image, mask, seed, self.view, partner, range(number, number + count))
            number, problem = number + count, first_problem(problem, found)
        return image, mask, problem

    def _indexed(self, *, before_crop: bool) -> list[tuple[int, Any]]:
        return [(index, op) for index, op in enumerate(self.ops) if op.BEFORE_CROP is before_crop]


def augmented(image: tf.Tensor, mask: tf.Tensor, key: tf.Tensor, ops: tuple[Any, ...], view: View) -> Pair:
    """Augments and crops one example, which is its own partner. Arguments are those of `Chain` and its methods."""
    chain = Chain(ops, view)
    image, mask = chain.cropped(image, mask, key)
    return chain.finished(image, mask, key, lambda _: (image, mask, tf.constant(VALID)))[:2]


def _mixed(
    op: Any, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View, partner: Partner, numbers: range
) -> Loaded:
    """Applies `op` with its probability. Partners are loaded only if it is applied."""

    def applied() -> Loaded:
        loaded = [partner(number) for number in numbers]
        pairs = [(image, mask), *((other, ids) for other, ids, _ in loaded)]
        result = _checked(op, lambda: op(pairs, _fold(seed, 1), view), image, mask)
        return *result, first_problem(*(problem for _, _, problem in loaded))

    drawn = tf.random.stateless_uniform([], _fold(seed, 0), alg="philox") < op.probability
    mixture, ids, problem = tf.cond(drawn, applied, lambda: (image, mask, tf.constant(VALID)))
    return tf.ensure_shape(mixture, image.shape), tf.ensure_shape(ids, mask.shape), problem


def _applied(op: AugmentSpec, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
    return _checked(op, lambda: op(image, mask, seed, view), image, mask)


def _checked(op: Any, call: Callable[[], Any], image: tf.Tensor, mask: tf.Tensor) -> Pair:
    """Calls an op and checks its outputs while the graph is traced, since a custom op may fail."""
    try:
        pair = call()
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
