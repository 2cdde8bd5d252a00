"""Checks that several layers share, so that one mistake has one wording."""

import inspect
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., None])


def extends(layer: type) -> Callable[[F], F]:
    """Gives a constructor, whose `**kwargs` go to that of `layer`, the signature that it has so.

    `help`, editors and the layers of a graph read it; those that it does not name itself are keywords.
    """

    def signed(constructor: F) -> F:
        own = inspect.signature(constructor).parameters
        theirs = inspect.signature(layer.__init__).parameters  # type: ignore[misc]
        keywords = inspect.Parameter.KEYWORD_ONLY
        found = [
            own.get(name, each if each.kind is each.VAR_KEYWORD else each.replace(kind=keywords))
            for name, each in theirs.items()
        ]
        constructor.__signature__ = inspect.Signature(found)  # type: ignore[attr-defined]
        return constructor

    return signed


def pair(name: str, value: int | Sequence[int], least: int = 1) -> tuple[int, int]:
    """`value` as height and width.

    Args:
        name: the argument, for the message.
        value: one integer for both, or two.
        least: the smallest integer that makes sense.

    Raises:
        ValueError: anything else.
    """
    both: tuple[Any, ...]
    both = (value, value) if isinstance(value, Integral) else tuple(value) if isinstance(value, Sequence) else ()
    if len(both) != 2 or not all(isinstance(each, Integral) and int(each) >= least for each in both):
        raise ValueError(
            f"`{name}` must be an integer of at least {least}, or two of them for height and width. "
            f"Received: {name}={value!r}"
        )
    return int(both[0]), int(both[1])  # NumPy's integers would not go into a config


def rates_of(name: str, value: Sequence[int]) -> tuple[int, ...]:
    """`value` as dilation rates.

    Raises:
        ValueError: no sequence of positive integers.
    """
    rates = tuple(value) if isinstance(value, Sequence) else (None,)
    if not all(isinstance(rate, Integral) and int(rate) >= 1 for rate in rates):
        raise ValueError(f"`{name}` must be positive integers, one for each branch. Received: {name}={value!r}")
    return tuple(map(int, rates))


def two_shapes(shapes: Sequence[Sequence[int | None]]) -> tuple[Sequence[int | None], Sequence[int | None]]:
    """The shapes of `[x, reference]`, both with four axes.

    Raises:
        ValueError: another number of tensors or of axes.
    """
    if len(shapes) != 2 or any(not isinstance(shape, Sequence) or len(shape) != 4 for shape in shapes):
        raise ValueError(
            "Expected a list of two tensors, `[x, reference]`, each `[batch, height, width, channels]`. "
            f"Received shapes: {shapes}"
        )
    return shapes[0], shapes[1]
