"""Boxes of pictures as examples of their own: cut out and resized inside the TensorFlow graph."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.data.augment import Pair
from tfseg.data.components import BACKGROUND
from tfseg.data.examples import Checked, Examples, Listing, Loaded
from tfseg.ops.resize import resize

ALL = -1
"""In place of a class: every label of a box is kept."""


@dataclass(frozen=True)
class Windows:
    """Boxes of many pictures, in the pictures' order.

    Args:
        pictures: int64 `[boxes]`: the index of each box's picture.
        sides: int64 `[boxes, 4]`: left, top, right, bottom; they may lie beyond the picture.
        classes: int64 `[boxes]`: the class that is kept, all others becoming background; or `ALL`.
    """

    pictures: np.ndarray
    sides: np.ndarray
    classes: np.ndarray

    def examples(self, whole: Examples, size: tuple[int, int], ignore: int) -> Examples:
        """The boxes of the pictures `whole`, each resized to `size`: images bilinear, labels nearest."""
        which, sides, classes = tf.constant(self.pictures), tf.constant(self.sides, tf.int32), tf.constant(self.classes)
        height, width = size

        def mask(index: tf.Tensor) -> Checked:
            ids, fault = whole.mask(which[index])

            def cut_out() -> tf.Tensor:
                ids_within = cut(ids[:, :, None], sides[index], ignore)
                return only(resize(ids_within[None], size, "nearest")[0, :, :, 0], classes[index], ignore)

            return _sound(fault, cut_out, tf.zeros(size, tf.int32)), fault

        def load(index: tf.Tensor) -> Loaded:
            image, ids, fault = whole.load(which[index])
            blank = tf.zeros([height, width, image.shape[-1]], tf.uint8), tf.zeros(size, tf.int32)

            def cut_out() -> Pair:
                return window(image, ids, sides[index], classes[index], size, ignore)

            made, labeled = _sound(fault, cut_out, blank)
            return made, labeled, fault

        return BoxedExamples(self._listing(whole.listing), load, mask, whole, which)

    def _listing(self, whole: Listing) -> Listing:
        places = zip(self.pictures.tolist(), self.sides.tolist(), strict=True)
        names = tuple(f"{whole.names[picture]} {sides}" for picture, sides in places)
        return Listing(whole.split, names, tuple(whole.files[picture] for picture in self.pictures.tolist()))


@dataclass(frozen=True)
class BoxedExamples(Examples):
    """Examples that are parts of others.

    Args:
        whole: the pictures that the parts are cut out of.
        which: int64 `[parts]`: the index of each part's picture.
    """

    whole: Examples
    which: tf.Tensor

    def files(self, index: tf.Tensor) -> tf.Tensor:
        """The files of the part's picture."""
        return self.whole.files(self.which[index])


def window(
    image: tf.Tensor, mask: tf.Tensor, sides: tf.Tensor, kept: tf.Tensor, size: tuple[int, int], ignore: int
) -> Pair:
    """A box of a picture, resized to `size`. Beyond the picture lie black pixels, to be ignored."""
    part = resize(tf.cast(cut(image, sides, 0)[None], tf.float32), size)[0]
    ids = resize(cut(mask[:, :, None], sides, ignore)[None], size, "nearest")[0, :, :, 0]
    return tf.saturate_cast(part + 0.5, tf.uint8), only(ids, kept, ignore)


def cut(values: tf.Tensor, sides: tf.Tensor, beyond: int) -> tf.Tensor:
    """The box `sides` of `[height, width, channels]`, with the value `beyond` at what lies beyond the borders."""
    height, width = tf.unstack(tf.shape(values)[:2])
    ends = tf.stack([width, height, width, height])
    left, top, right, bottom = tf.unstack(tf.clip_by_value(sides, 0, ends))
    missing = tf.abs(sides - tf.stack([left, top, right, bottom]))
    padding = [[missing[1], missing[3]], [missing[0], missing[2]], [0, 0]]
    return tf.pad(values[top:bottom, left:right], padding, constant_values=tf.cast(beyond, values.dtype))


def only(mask: tf.Tensor, kept: tf.Tensor, ignore: int) -> tf.Tensor:
    """The mask with every class but `kept` made background; pixels to ignore stay so."""
    stays = tf.equal(kept, ALL) | tf.equal(mask, tf.cast(kept, mask.dtype)) | tf.equal(mask, ignore)
    return tf.where(stays, mask, BACKGROUND)


def _sound(fault: tf.Tensor, cut_out: Callable[[], Any], blank: Any) -> Any:
    """What `cut_out` gives, or `blank` where a fault leaves nothing to cut."""
    return tf.cond(tf.equal(fault, ""), cut_out, lambda: blank)
