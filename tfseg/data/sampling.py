"""Sampling of training examples by the rarity of their classes.

The probability of a class is that of rare class sampling (Hoyer, Dai & Van Gool, DAFormer, 2022, section 3.2):
`P(c) = exp((1 - f_c) / T) / sum_k exp((1 - f_k) / T)`, with the frequency `f_c` of the class and the temperature `T`,
over the classes that occur. As there, a class is drawn first, and then one of the `n_c` examples with at least
`min_pixels` pixels of it. The probability of an example is therefore the sum of `P(c) / n_c` over these classes.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import tensorflow as tf
from pydantic import Field

from tfseg.errors import DataError
from tfseg.spec.declare import spec

Temperature = Annotated[float, Field(ge=0.001)]

_fold = tf.random.experimental.stateless_fold_in
_DRAW = 1 << 22
"""Value that is folded into the seed of an epoch for the draws of its examples."""


@spec
class ClassSampling:
    """Draws the examples of an epoch with replacement, those with rare classes more often.

    A class is drawn with a probability proportional to `exp((1 - frequency) / temperature)`, then an example of it.
    """

    classes: Literal["balanced", "balanced_images"] = "balanced"
    """Frequency of a class. `balanced`: its fraction of the labeled pixels of the training split, as in DAFormer.
    `balanced_images`: the fraction of the examples with at least `min_pixels` pixels of it."""
    temperature: Temperature = 0.5
    """Temperature of the softmax over classes. Large values draw all classes equally often, small ones the rarest."""
    min_pixels: Annotated[int, Field(ge=1)] = 1
    """Minimum number of pixels of a class in an example that is drawn for this class; 3000 in DAFormer."""

    def __call__(self, histograms: np.ndarray, names: Sequence[str], split: str) -> np.ndarray:
        """Returns the probability of each example.

        Args:
            histograms: Pixels per example and class, integers `[examples, classes + 1]`; the last column is ignored.
            names: Class names, for error messages.
            split: Name of the split, for error messages.

        Returns:
            A float64 array of shape `[examples]` with the sum 1. Examples without labeled pixels have probability 0.

        Raises:
            DataError: If no pixel is labeled, or a class has fewer than `min_pixels` pixels in each example.
        """
        pixels = np.asarray(histograms, np.int64)[:, :-1]
        present = pixels >= self.min_pixels
        if not pixels.any():
            raise DataError(
                f"data.sampling: no mask of the split {split} has a labeled pixel, so that no class can be drawn. "
                "Correct the masks, or set data.sampling to null."
            )
        if message := self._rejected(pixels.max(0), names, split):
            raise DataError(message)
        frequency = pixels.sum(0) / pixels.sum() if self.classes == "balanced" else present.mean(0)
        images = present.sum(0)
        classes = _softmax(np.where(images > 0, rarity(frequency, self.temperature), -np.inf))
        return np.asarray((present * (classes / np.maximum(images, 1))).sum(1))

    def _rejected(self, most: np.ndarray, names: Sequence[str], split: str) -> str | None:
        """Returns an error message if a class could not be drawn, for the largest number of pixels per class."""
        few = {name: count for name, count in zip(names, most.tolist(), strict=True) if 0 < count < self.min_pixels}
        if not few:
            return None
        shown = ", ".join(f"{name!r} (at most {count})" for name, count in few.items())
        return (
            f"data.sampling.min_pixels: no example of the split {split} has {self.min_pixels} pixels of: {shown}. "
            f"Use {min(few.values())} or less, so that every class can be drawn."
        )


def rarity(frequency: np.ndarray, temperature: float) -> np.ndarray:
    """Returns `(1 - frequency) / temperature` of each class, the logits of the classes to draw.

    >>> np.exp(rarity(np.array([0.9, 0.1]), 0.5)).round(2).tolist()
    [1.22, 6.05]
    """
    return (1 - frequency) / temperature


def drawn(probabilities: np.ndarray, seed: int, epoch: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Draws the index of the example at a position of an epoch, by the inverse of the cumulative distribution.

    Args:
        probabilities: Float64 array of shape `[examples]`.
        seed: Integer, seed of the training.
        epoch: Int64 scalar.
        position: Int64 scalar.
    """
    cumulative = np.cumsum(probabilities)
    key = _fold(_fold(tf.stack([tf.constant(seed, tf.int64), epoch]), _DRAW), position)
    draw = tf.random.stateless_uniform([1], key, dtype=tf.float64, alg="philox")
    return tf.searchsorted(tf.constant(cumulative / cumulative[-1]), draw, side="right", out_type=tf.int64)[0]


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())
