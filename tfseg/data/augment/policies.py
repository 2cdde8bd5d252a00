"""Policies: augmentation ops that apply other ops at random."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

import tensorflow as tf
from pydantic import Field, model_validator

from tfseg.data.augment.applied import applied
from tfseg.data.augment.contract import AugmentSpec, Pair, View
from tfseg.data.augment.magnitudes import MAGNITUDES
from tfseg.spec.declare import spec
from tfseg.spec.nesting import Inner
from tfseg.spec.problems import InvalidFields

_fold = tf.random.experimental.stateless_fold_in
INNER = Inner("augment")
"""Mark of an op inside a policy: the same choices as in `data.augment`."""
Ops = Annotated[tuple[Annotated[AugmentSpec, INNER], ...], Field(min_length=1)]


class Policy(AugmentSpec):
    """Base class of policies. A policy is applied before the crop if any of its ops is."""

    @property
    def inner(self) -> tuple[Any, ...]:
        """Ops that the policy may apply."""
        raise NotImplementedError

    @property
    def BEFORE_CROP(self) -> bool:  # type: ignore[override]  # depends on the ops
        """True if any of the ops needs pixels around the crop."""
        return any(op.BEFORE_CROP for op in self.inner)


def _check_inner(ops: tuple[Any, ...]) -> None:
    """Raises InvalidFields for ops that mix examples."""
    mixing = [(index, op.type) for index, op in enumerate(ops) if getattr(op, "PARTNERS", 0)]
    if mixing:
        message = "ops that mix examples are not possible inside a policy: list it in data.augment, with `probability`"
        raise InvalidFields(*((("ops", index), f"{message}; received {kind}") for index, kind in mixing))


@spec
class Sometimes(Policy):
    """Applies its ops, all of them in order, with a probability (Sometimes of imgaug)."""

    type: Literal["sometimes"] = "sometimes"
    ops: Ops
    """Augmentation ops, in order. A list in a policy may contain policies, but no op that mixes examples."""
    probability: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability of applying the ops."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_inner(self.ops)
        return self

    @property
    def inner(self) -> tuple[Any, ...]:
        """The ops."""
        return self.ops

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Applies the ops in order with the given probability."""

        def all_ops() -> Pair:
            pair = image, mask
            for index, op in enumerate(self.ops):
                pair = applied(op, *pair, _fold(seed, 1 + index), view)
            return pair

        drawn = tf.random.stateless_uniform([], _fold(seed, 0), alg="philox") < self.probability
        return _like(tf.cond(drawn, all_ops, lambda: (image, mask)), image)


@spec
class OneOf(Policy):
    """Applies exactly one of its ops, drawn at random (OneOf of Albumentations)."""

    type: Literal["one_of"] = "one_of"
    ops: Ops
    """Augmentation ops, of which one is applied. A list in a policy may contain policies, but no op that mixes
    examples."""
    weights: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Weight of each op: its probability, if they sum to 1. Defaults to equal weights."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_inner(self.ops)
        if self.weights is not None and len(self.weights) != len(self.ops):
            message = f"expected {len(self.ops)}: one per op; received {len(self.weights)}"
            raise InvalidFields((("weights",), message))
        return self

    @property
    def inner(self) -> tuple[Any, ...]:
        """The ops."""
        return self.ops

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Applies one op."""
        weights = self.weights or (1.0,) * len(self.ops)
        limits = tf.cumsum(tf.constant(weights[:-1], tf.float32)) / sum(weights)
        draw = tf.random.stateless_uniform([], _fold(seed, 0), alg="philox")
        index = tf.math.count_nonzero(draw >= limits, dtype=tf.int32)
        return _drawn(self.ops, index, image, mask, _fold(seed, 1), view)


@spec
class RandAugment(Policy):
    """Applies `n` ops, each drawn at random from a list, all of one magnitude (RandAugment, Cubuk et al. 2020)."""

    type: Literal["rand_augment"] = "rand_augment"
    n: Annotated[int, Field(ge=1, le=16)] = 2
    """Number of ops per image, drawn with replacement; N in the paper."""
    magnitude: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Strength of the ops, from 0 to 1; M divided by the maximum M in the paper."""
    ops: Annotated[tuple[str, ...], Field(min_length=1)] = (
        *("identity", "scale", "rotate", "shear", "translate", "flip", "brightness", "contrast", "saturation", "hue"),
        *("gamma", "equalize", "blur"),
    )
    """Names of the ops to draw from: `identity`, `scale`, `rotate`, `shear`, `translate`, `flip`, `brightness`,
    `contrast`, `saturation`, `hue`, `gamma`, `equalize`, `blur`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = [(index, name) for index, name in enumerate(self.ops) if name not in MAGNITUDES]
        if unknown:
            message = f"expected one of {', '.join(MAGNITUDES)}"
            raise InvalidFields(*((("ops", index), f'{message}; received "{name}"') for index, name in unknown))
        return self

    @property
    def inner(self) -> tuple[Any, ...]:
        """The ops of the list at the magnitude, without `identity`."""
        ops = (MAGNITUDES[name](self.magnitude) for name in self.ops)
        return tuple(op for op in ops if op is not None)

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        """Applies `n` random ops, one after the other."""
        ops = tuple(MAGNITUDES[name](self.magnitude) for name in self.ops)
        for step in range(self.n):
            own = _fold(seed, step)
            index = tf.random.stateless_uniform([], _fold(own, 0), 0, len(ops), tf.int32, alg="philox")
            image, mask = _drawn(ops, index, image, mask, _fold(own, 1), view)
        return image, mask


def _drawn(
    ops: Sequence[Any], index: tf.Tensor, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View
) -> Pair:
    """Applies the op with the given index; None is the identity."""

    def branch(op: Any) -> Callable[[], Pair]:
        return lambda: (image, mask) if op is None else applied(op, image, mask, seed, view)

    return _like(tf.switch_case(index, [branch(op) for op in ops]), image)


def _like(pair: Pair, image: tf.Tensor) -> Pair:
    """Returns a pair with the channels of `image` in its static shape, which branches of several sizes may lose."""
    return tf.ensure_shape(pair[0], [None, None, image.shape[-1]]), pair[1]
