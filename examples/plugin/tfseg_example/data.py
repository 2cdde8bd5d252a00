"""Custom data source, mask format, boxes and data augmentation."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import tensorflow as tf
from pydantic import Field

from tfseg.data.augment import View
from tfseg.data.examples import VALID, Examples, Listing
from tfseg.data.sources.masks import Ids, Reader
from tfseg.data.windows import ALL
from tfseg.labels import Labels
from tfseg.spec import spec

Pair = tuple[tf.Tensor, tf.Tensor]


@spec
class Stripes:
    """Synthetic images of vertical stripes, one color per class."""

    type: Literal["stripes"] = "stripes"
    NEEDS_ROOT: ClassVar[bool] = False
    size: Annotated[int, Field(ge=8)] = 32
    """Height and width."""
    count: Annotated[int, Field(ge=1)] = 8
    """Number of images per split."""

    def splits(self, root: Path) -> tuple[str, ...]:
        return "train", "val"

    def listing(self, root: Path, split: str) -> Listing:
        return Listing(split, tuple(f"{split}{number}" for number in range(self.count)), ((),) * self.count)

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        first = 0 if listing.split == "train" else self.count

        def mask(index: tf.Tensor) -> Pair:
            columns = (tf.range(self.size) + tf.cast(index, tf.int32) + first) * labels.count // self.size
            return tf.tile((columns % labels.count)[None], [self.size, 1]), tf.constant(VALID)

        def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            ids, problem = mask(index)
            colors = tf.constant(labels.palette[: labels.count].tolist(), tf.uint8)
            return tf.gather(colors, ids), ids, problem

        return Examples(listing, load, mask)


@spec
class OneHigher:
    """Mask files with class ids from 1, and 0 as ignore label."""

    type: Literal["one_higher"] = "one_higher"

    def __call__(self, labels: Labels) -> Reader:
        mapping = {0: labels.ignore} | {identity + 1: identity for identity in range(labels.count)}
        return Ids(mapping=mapping)(labels)


@spec
class Quarters:
    """Crops the four quarters of each image as separate examples."""

    type: Literal["quarters"] = "quarters"
    size: Annotated[int, Field(ge=1)] = 16
    """Height and width to which the crops are resized."""

    def find(self, name: str, mask: np.ndarray, given: object, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
        height, width = mask.shape
        corners = [(left, top) for top in (0, height // 2) for left in (0, width // 2)]
        boxes = [(left, top, left + width // 2, top + height // 2) for left, top in corners]
        return np.array(boxes, np.int64), np.full(4, ALL, np.int64)


@spec
class Exposure:
    """Random exposure, as a gamma correction."""

    type: Literal["exposure"] = "exposure"
    largest: Annotated[float, Field(gt=1)] = 1.5
    """Largest exponent; the smallest is its reciprocal."""

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        draw = tf.random.stateless_uniform([], seed, -1, 1, alg="philox")
        changed = 255 * (tf.cast(image, tf.float32) / 255) ** (self.largest**draw)
        return tf.cast(tf.round(changed), tf.uint8), mask
