"""Which normalization a network has: chosen once, by the model that is built, and asked for wherever a layer stands.

Inside `normalizing(choice)` every `normalized(x, name)` puts the layer of that choice onto `x`. Layers that are made of
others hold the choice in their arguments (`chosen`), so that a saved network does not depend on where it is loaded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import keras

MOMENTUM = 0.9
"""Of BatchNorm's moving averages: after some dozen steps evaluation agrees with training. The 0.99 to 0.9997 that
networks were published with take thousands."""
EPSILON = 1e-3
"""Added to variances, where a network was not published with another number: Keras's."""
Kind = Literal["batch", "group"]


@dataclass(frozen=True)
class Normalization:
    """A choice of layers that normalize.

    Args:
        norm: `"batch"`: statistics of the batch, moving averages when predicting. `"group"`: of each image, in groups
            of channels, for batches of a few images (Wu & He, "Group Normalization", ECCV 2018, section 3).
        groups: of channels, for `"group"`.
        momentum: of moving averages, for `"batch"`; None: as a network was published.
        epsilon: what is added to variances; None: as a network was published.
    """

    norm: Kind = "batch"
    groups: int = 32
    momentum: float | None = None
    epsilon: float | None = None

    def __post_init__(self) -> None:
        if self.norm not in ("batch", "group"):
            raise ValueError(f'`norm` must be "batch" or "group". Received: norm={self.norm!r}')
        if not isinstance(self.groups, int) or self.groups < 1:
            raise ValueError(f"`groups` must be an integer of at least 1. Received: groups={self.groups!r}")

    def layer(self, **arguments: Any) -> keras.layers.Layer:
        """The layer; `arguments` are those that both kinds take, such as `name` and `beta_initializer`."""
        if self.norm == "group":
            return keras.layers.GroupNormalization(self.groups, epsilon=self.epsilon, **arguments)
        return keras.layers.BatchNormalization(momentum=self.momentum, epsilon=self.epsilon, **arguments)


class IndivisibleChannels(ValueError):
    """Groups that do not divide the channels of a layer."""


_CHOICE: ContextVar[Normalization] = ContextVar("normalization", default=Normalization())  # noqa: B039  # frozen


@contextmanager
def normalization(choice: Normalization) -> Iterator[None]:
    """Inside, the networks that are built normalize as `choice` says."""
    token = _CHOICE.set(choice)
    try:
        yield
    finally:
        _CHOICE.reset(token)


def chosen(momentum: float = MOMENTUM, epsilon: float = EPSILON) -> dict[str, Any]:
    """The choice as arguments of a layer that is made of others: `norm`, `groups`, `momentum`, `epsilon`.

    Args:
        momentum: as the network was published.
        epsilon: as the network was published.
    """
    return asdict(_published(momentum, epsilon))


def normalized(
    x: keras.KerasTensor, name: str, *, momentum: float = MOMENTUM, epsilon: float = EPSILON, **arguments: Any
) -> keras.KerasTensor:
    """`x`, normalized by a layer of that name.

    Args:
        x: `[batch, height, width, channels]`.
        name: of the layer.
        momentum: as the network was published; the choice may be another.
        epsilon: as the network was published; the choice may be another.
        **arguments: that both kinds of layer take, such as `beta_initializer`.

    Raises:
        IndivisibleChannels: the groups do not divide the channels of `x`.
    """
    layer = _published(momentum, epsilon).layer(name=name, **arguments)
    check_groups(layer, x.shape[-1])
    return layer(x)


def _published(momentum: float, epsilon: float) -> Normalization:
    """The choice, with what a network was published with where it says nothing."""
    choice = _CHOICE.get()
    return replace(
        choice,
        momentum=momentum if choice.momentum is None else choice.momentum,
        epsilon=epsilon if choice.epsilon is None else choice.epsilon,
    )


def check_groups(layer: keras.layers.Layer, channels: int | None) -> None:
    """Raises IndivisibleChannels if `layer` is a GroupNormalization whose groups do not divide `channels`."""
    if isinstance(layer, keras.layers.GroupNormalization) and channels and channels % layer.groups:
        raise IndivisibleChannels(
            "must divide the channels of every layer that is normalized, and what "
            f"{layer.name} reads has {channels}. Received: {layer.groups}"
        )
