"""How a file calls what a network has: from the paths of our layers to the names in the file."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Table = Sequence[tuple[str, str]]
"""Pairs of a pattern of our names, and what theirs is then; the first that fits counts."""
Fit = Callable[[str, str, np.ndarray, tuple[int, ...]], np.ndarray]
"""Brings an array of the file into the shape of our variable: module, variable, array, shape."""


@dataclass(frozen=True)
class Naming:
    """A way to name the weights of a network.

    Args:
        title: what to call it in a message.
        modules: the scopes in which each of our layers may lie, by its path in the network; others have no name.
        variables: what our variables are called, each by one of several names; others as we call them.
        fit: what makes an array as small as our variable, where that is more than taking it.
        epsilon: what BatchNorms behind convolutions with a bias add to variances; None: what ours add.
    """

    title: str
    modules: Mapping[str, tuple[str, ...]]
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fit: Fit = lambda module, variable, array, shape: array
    epsilon: float | None = None

    def candidates(self, module: str, variable: str) -> tuple[str, ...]:
        """The names under which that variable may stand in the file."""
        names = self.variables.get(variable, (variable,))
        return tuple(f"{scope}/{name}" for scope in self.modules.get(module, ()) for name in names)


def alone(modules: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The one scope of each layer, as `Naming` takes it."""
    return {name: (scope,) for name, scope in modules.items()}


def translated(names: Iterable[str], table: Table) -> dict[str, str]:
    r"""`names` for which the table has a pattern, and what it says they are.

    >>> translated(["block_3_expand", "score"], [(r"block_(\d+)_expand", r"unit\1/conv")])
    {'block_3_expand': 'unit3/conv'}
    """
    found = {}
    for name in names:
        for pattern, theirs in table:
            if match := re.fullmatch(pattern, name):
                found[name] = match.expand(theirs)
                break
    return found
