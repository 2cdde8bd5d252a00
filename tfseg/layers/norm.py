"""Choice of the normalization layers of a network, made once per model.

Inside `with normalization(choice):`, every `normalized(x, name)` applies the chosen layer to `x`. Composite layers
store the choice in their arguments (`chosen`), so that a saved network loads independently of the current choice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import keras

from tfseg.layers.batch_norm import BatchNormalization

MOMENTUM = 0.9
"""Default momentum of BatchNormalization: the moving averages converge within a few dozen steps. The published values
of 0.99 to 0.9997 take hundreds to thousands of steps."""
EPSILON = 1e-3
"""Default epsilon of Keras, for networks that were published without one."""
Kind = Literal["batch", "group"]


@dataclass(frozen=True)
class Normalization:
    """Choice of the normalization layer.

    Args:
        norm: `"batch"`: batch statistics in training, moving averages at inference. `"group"`: statistics of each image
            over groups of channels, for small batches (Wu & He, "Group Normalization", ECCV 2018, section 3).
        groups: Number of groups, for `"group"`.
        momentum: Momentum of the moving averages, for `"batch"`. If `None`, the published value of the network.
        epsilon: Small float added to the variances. If `None`, the published value of the network.
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
        """Returns the layer.

        Args:
            **arguments: Arguments that both kinds of layers accept, such as `name` and `beta_initializer`.
        """
        if self.norm == "group":
            return keras.layers.GroupNormalization(self.groups, epsilon=self.epsilon, **arguments)
        return BatchNormalization(momentum=self.momentum, epsilon=self.epsilon, **arguments)


class IndivisibleChannels(ValueError):
    """Raised if the number of channels of a layer is not a multiple of the number of groups."""


_CHOICE: ContextVar[Normalization] = ContextVar("normalization", default=Normalization())  # noqa: B039  # frozen


@contextmanager
def normalization(choice: Normalization) -> Iterator[None]:
    """Sets the normalization of the networks that are built inside the `with` block."""
    token = _CHOICE.set(choice)
    try:
        yield
    finally:
        _CHOICE.reset(token)


def chosen(momentum: float = MOMENTUM, epsilon: float = EPSILON) -> dict[str, Any]:
    """Returns the current choice as arguments of a composite layer: `norm`, `groups`, `momentum`, `epsilon`.

    Args:
        momentum: Published value of the network, used unless the choice has its own.
        epsilon: Published value of the network, used unless the choice has its own.
    """
    return asdict(_resolved(momentum, epsilon))


def normalized(
    x: keras.KerasTensor, name: str, *, momentum: float = MOMENTUM, epsilon: float = EPSILON, **arguments: Any
) -> keras.KerasTensor:
    """Applies the chosen normalization to `x`.

    Args:
        x: Feature map `[batch, height, width, channels]`.
        name: Name of the layer.
        momentum: Published value of the network, used unless the choice has its own.
        epsilon: Published value of the network, used unless the choice has its own.
        **arguments: Arguments that both kinds of layers accept, such as `beta_initializer`.

    Raises:
        IndivisibleChannels: If the number of groups does not divide the number of channels of `x`.
    """
    layer = _resolved(momentum, epsilon).layer(name=name, **arguments)
    check_groups(layer, x.shape[-1])
    return layer(x)


def _resolved(momentum: float, epsilon: float) -> Normalization:
    """Returns the choice, with the published values of a network for `momentum` and `epsilon` if they are `None`."""
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
            "must divide the number of channels of every normalized layer; the input of "
            f"{layer.name} has {channels}. Received: {layer.groups}"
        )
