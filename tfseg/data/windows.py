"""Boxes of images as examples, cut out and resized inside the TensorFlow graph."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.data.augment import Pair, like
from tfseg.data.components import BACKGROUND
from tfseg.data.examples import Checked, Content, Examples, Listing, Loaded
from tfseg.ops.resize import resize

ALL = -1
"""Value of `Windows.classes` that keeps all labels of a box."""


@dataclass(frozen=True)
class Windows:
    """Boxes of several images, in the order of the images.

    Args:
        images: Int64 array of shape `[boxes]`, index of the image of each box.
        sides: Int64 array of shape `[boxes, 4]`: left, top, right, bottom; they may be outside the image.
        classes: Int64 array of shape `[boxes]`, class to keep while all others become background, or `ALL`.
    """

    images: np.ndarray
    sides: np.ndarray
    classes: np.ndarray

    def examples(self, whole: Examples, size: tuple[int, int], ignore: int) -> Examples:
        """Returns the boxes as examples, resized to `size`: bilinear for images, nearest for masks."""
        images, sides, classes = tf.constant(self.images), tf.constant(self.sides, tf.int32), tf.constant(self.classes)
        height, width = size

        def mask(index: tf.Tensor) -> Checked:
            ids, problem = whole.mask(images[index])

            def cut_out() -> tf.Tensor:
                box_ids = cut(ids[:, :, None], sides[index], ignore)
                return only(resize(box_ids[None], size, "nearest")[0, :, :, 0], classes[index], ignore)

            return _if_valid(problem, cut_out, tf.zeros(size, ids.dtype)), problem

        def load(index: tf.Tensor) -> Loaded:
            image, ids, problem = whole.load(images[index])
            blank = tf.zeros([height, width, image.shape[-1]], image.dtype), tf.zeros(size, ids.dtype)

            def cut_out() -> Pair:
                return window(image, ids, sides[index], classes[index], size, ignore)

            box_image, box_mask = _if_valid(problem, cut_out, blank)
            return box_image, box_mask, problem

        content = None if whole.content is None else partial(_content, whole.content, images)
        return BoxedExamples(self._listing(whole.listing), load, mask, content, whole=whole, images=images)

    def _listing(self, whole: Listing) -> Listing:
        boxes = zip(self.images.tolist(), self.sides.tolist(), strict=True)
        names = tuple(f"{whole.names[image]} {sides}" for image, sides in boxes)
        return Listing(whole.split, names, tuple(whole.files[image] for image in self.images.tolist()))


@dataclass(frozen=True, kw_only=True)
class BoxedExamples(Examples):
    """Examples that are boxes of whole images.

    Args:
        whole: Examples of the whole images.
        images: Int64 tensor of shape `[boxes]`, index of the image of each box.
    """

    whole: Examples
    images: tf.Tensor

    def files(self, index: tf.Tensor) -> tf.Tensor:
        """Returns the files of the image of a box."""
        return self.whole.files(self.images[index])


def _content(whole: Content, images: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the content of the files of the image of a box."""
    return whole(images[index])


def window(
    image: tf.Tensor, mask: tf.Tensor, sides: tf.Tensor, kept: tf.Tensor, size: tuple[int, int], ignore: int
) -> Pair:
    """Cuts out a box and resizes it to `size`. Pixels outside the image are black and ignored."""
    box = resize(tf.cast(cut(image, sides, 0)[None], tf.float32), size)[0]
    ids = resize(cut(mask[:, :, None], sides, ignore)[None], size, "nearest")[0, :, :, 0]
    return like(box, image), only(ids, kept, ignore)


def cut(values: tf.Tensor, sides: tf.Tensor, fill: int) -> tf.Tensor:
    """Cuts the box `sides` out of `[height, width, channels]`, with `fill` outside the borders."""
    height, width = tf.unstack(tf.shape(values)[:2])
    limits = tf.stack([width, height, width, height])
    left, top, right, bottom = tf.unstack(tf.clip_by_value(sides, 0, limits))
    missing = tf.abs(sides - tf.stack([left, top, right, bottom]))
    padding = [[missing[1], missing[3]], [missing[0], missing[2]], [0, 0]]
    return tf.pad(values[top:bottom, left:right], padding, constant_values=tf.cast(fill, values.dtype))


def only(mask: tf.Tensor, kept: tf.Tensor, ignore: int) -> tf.Tensor:
    """Replaces all classes of the mask except `kept` by background; ignored pixels stay ignored."""
    unchanged = tf.equal(kept, ALL) | tf.equal(mask, tf.cast(kept, mask.dtype)) | tf.equal(mask, ignore)
    return tf.where(unchanged, mask, tf.cast(BACKGROUND, mask.dtype))


def _if_valid(problem: tf.Tensor, cut_out: Callable[[], Any], blank: Any) -> Any:
    """Returns `cut_out()`, or `blank` if there is a problem."""
    return tf.cond(tf.equal(problem, ""), cut_out, lambda: blank)
