"""Argument checks shared by several layers."""

import inspect
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., None])


def extends(layer: type) -> Callable[[F], F]:
    """Sets the combined signature on a constructor that forwards `**kwargs` to the constructor of `layer`.

    `help`, editors and networks of `type: graph` read the signature. Arguments that only the constructor of `layer`
    declares become keyword-only.
    """

    def decorate(constructor: F) -> F:
        own = inspect.signature(constructor).parameters
        inherited = inspect.signature(layer.__init__).parameters  # type: ignore[misc]
        keywords = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            own.get(name, each if each.kind is each.VAR_KEYWORD else each.replace(kind=keywords))
            for name, each in inherited.items()
        ]
        constructor.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return constructor

    return decorate


def pair(name: str, value: int | Sequence[int], least: int = 1) -> tuple[int, int]:
    """Returns `value` as a pair (height, width).

    Args:
        name: Argument name for the error message.
        value: Integer for both axes, or a sequence of two integers.
        least: Smallest valid integer.

    Raises:
        ValueError: If `value` is anything else.
    """
    both: tuple[Any, ...]
    both = (value, value) if isinstance(value, Integral) else tuple(value) if isinstance(value, Sequence) else ()
    if len(both) != 2 or not all(isinstance(each, Integral) and int(each) >= least for each in both):
        raise ValueError(
            f"`{name}` must be an integer of at least {least}, or a pair of such integers (height, width). "
            f"Received: {name}={value!r}"
        )
    return int(both[0]), int(both[1])  # a config cannot store NumPy integers


def rates_of(name: str, value: Sequence[int]) -> tuple[int, ...]:
    """Returns `value` as a tuple of dilation rates.

    Args:
        name: Argument name for the error message.
        value: Sequence of positive integers.

    Raises:
        ValueError: If `value` is anything else.
    """
    rates = tuple(value) if isinstance(value, Sequence) else (None,)
    if not all(isinstance(rate, Integral) and int(rate) >= 1 for rate in rates):
        raise ValueError(f"`{name}` must be a sequence of positive integers. Received: {name}={value!r}")
    return tuple(map(int, rates))


def two_shapes(shapes: Sequence[Sequence[int | None]]) -> tuple[Sequence[int | None], Sequence[int | None]]:
    """Returns the shapes of a list of two tensors, each with four axes.

    Raises:
        ValueError: If there are not exactly two tensors, or if one of them does not have four axes.
    """
    if len(shapes) != 2 or any(not isinstance(shape, Sequence) or len(shape) != 4 for shape in shapes):
        raise ValueError(
            f"Expected a list of two tensors of shape `[batch, height, width, channels]`. Received shapes: {shapes}"
        )
    return shapes[0], shapes[1]
