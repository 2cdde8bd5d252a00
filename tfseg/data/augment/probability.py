"""Probability with which an augmentation op is applied, and ranges that ops draw from."""

import functools
from collections.abc import Callable
from typing import Annotated, Any

import tensorflow as tf
from pydantic import AfterValidator, Field

from tfseg.data.augment.contract import Pair, View

Call = Callable[[Any, tf.Tensor, tf.Tensor, tf.Tensor, View], Pair]
Probability = Annotated[float, Field(gt=0, le=1)]


def _ordered(bounds: tuple[Any, Any]) -> tuple[Any, Any]:
    low, high = bounds
    if low > high:
        raise ValueError(f"expected the minimum and the maximum of a range; received {low} and {high}")
    return bounds


ORDERED = AfterValidator(_ordered)
"""Validator of a range that ops draw from: the first value is at most the second."""

fold = tf.random.experimental.stateless_fold_in
_APPLIED = 1 << 20
"""Value that is folded into the seed of an op for the draw of whether it is applied."""


def with_probability(call: Call) -> Call:
    """Makes the `__call__` of an op return its inputs, except with the `probability` of the op.

    The transformation is inside a branch of the graph, so that it takes no time if it is not applied.
    """

    @functools.wraps(call)
    def __call__(self: Any, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        if self.probability == 1:
            return call(self, image, mask, seed, view)
        applied = tf.random.stateless_uniform([], fold(seed, _APPLIED), alg="philox") < self.probability
        return tf.cond(applied, lambda: call(self, image, mask, seed, view), lambda: (image, mask))

    return __call__


def uniform(draws: tf.Tensor, bounds: tuple[float, float]) -> tf.Tensor:
    """Maps draws from [0, 1) to a range."""
    low, high = bounds
    return low + draws * (high - low)


def log_uniform(draws: tf.Tensor, bounds: tuple[float, float]) -> tf.Tensor:
    """Maps draws from [0, 1) to a range of factors, so that `f` and `1 / f` are equally likely if both are in it."""
    low, high = bounds
    return low * (high / low) ** draws


def aspect_factors(draw: tf.Tensor, aspect: float) -> tf.Tensor:
    """Returns factors of height and width whose product is 1 and whose ratio is from `1 / aspect` to `aspect`."""
    root = log_uniform(draw, (aspect**-0.5, aspect**0.5))
    return tf.stack([root, 1 / root])
