"""Augmentation ops and the crop, in order."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import tensorflow as tf

from tfseg.data.augment.applied import applied, checked
from tfseg.data.augment.clahe import Clahe
from tfseg.data.augment.colors import ColorJitter, Gamma, Gray
from tfseg.data.augment.contract import AugmentSpec, Pair, View
from tfseg.data.augment.crop import crop_window, cropped
from tfseg.data.augment.distortion import Elastic, GridDistortion
from tfseg.data.augment.erasing import Cutout
from tfseg.data.augment.geometry import Flip, Pad, Rot90, Scale
from tfseg.data.augment.mixing import ClassMix, CopyPaste, Mosaic
from tfseg.data.augment.policies import INNER, OneOf, RandAugment, Sometimes
from tfseg.data.augment.projection import Affine, Rotate
from tfseg.data.augment.quality import Blur, Jpeg, Noise
from tfseg.data.examples import VALID, Loaded, Window, first_problem
from tfseg.spec.declare import ByType

Partner = Callable[[int], Loaded]
"""Function from the number of a partner to its image, mask and problem."""
Choice = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Pair]
"""Function of an image, its mask and the seed of the crop that returns the window to crop to."""

_fold = tf.random.experimental.stateless_fold_in
_CROP = 1 << 20
"""Value that is folded into the seed of the example for the crop; for an op, the value is its index in the list."""

Geometric = Scale | Rotate | Flip | Affine | Elastic | GridDistortion | Pad | Rot90
Photometric = ColorJitter | Gamma | Gray | Clahe | Blur | Noise | Jpeg
Mixing = Mosaic | CopyPaste | ClassMix
Policies = OneOf | RandAugment | Sometimes
Augment = Annotated[Geometric | Photometric | Cutout | Mixing | Policies, ByType(contract=AugmentSpec, inner=INNER)]


@dataclass(frozen=True)
class Chain:
    """Augmentation ops in order and the crop. Each op has its own seed, so that its draws do not depend on other ops.

    Args:
        ops: Augmentation ops. Those with `BEFORE_CROP` are applied first.
        view: Ignore label, size of the crop, fill value and labels.
        choice: Function that chooses the window to crop to, by its classes; None for random positions.
    """

    ops: tuple[Any, ...]
    view: View
    choice: Choice | None = None

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
        # An op must not cut off what the choice of the crop is made from.
        view = self.view if self.choice is None else replace(self.view, crop=None)
        for index, op in self._indexed(before_crop=True):
            image, mask = applied(op, image, mask, _fold(key, index), view)
        if self.view.crop is None:
            return image, mask
        seed = _fold(key, _CROP)
        if self.choice is not None:
            image, mask = self.choice(image, mask, seed)  # of the size of the crop, or smaller: then only padded
        return cropped(image, mask, seed, self.view.crop, self.view.ignore, self.view.fill)

    def window(self, key: tf.Tensor) -> Window | None:
        """Returns a function from the size of an image to the window of it that `cropped` uses; None if that is all.

        `cropped` returns the same for the image and for the window.
        """
        if self.view.crop is None or self.choice is not None:
            return None
        crop, before = self.view.crop, self._indexed(before_crop=True)
        if not before:
            return lambda size: crop_window(size, _fold(key, _CROP), crop)
        index, op = before[0]
        if not isinstance(op, Scale) or op.probability < 1:  # all pixels may be needed
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
                image, mask = applied(op, image, mask, seed, self.view)
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

    def mixed() -> Loaded:
        loaded = [partner(number) for number in numbers]
        pairs = [(image, mask), *((other, ids) for other, ids, _ in loaded)]
        result = checked(op, lambda: op(pairs, _fold(seed, 1), view), image, mask)
        return *result, first_problem(*(problem for _, _, problem in loaded))

    drawn = tf.random.stateless_uniform([], _fold(seed, 0), alg="philox") < op.probability
    mixture, ids, problem = tf.cond(drawn, mixed, lambda: (image, mask, tf.constant(VALID)))
    return tf.ensure_shape(mixture, image.shape), tf.ensure_shape(ids, mask.shape), problem
