"""Mapping from the layers of a network to the names of arrays in a file."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Table = Sequence[tuple[str, str]]
"""Pairs of a pattern for names of tfseg and a template for names in the file; the first match counts."""
Fit = Callable[[str, str, np.ndarray, tuple[int, ...]], np.ndarray]
"""Converts an array of the file to the shape of a variable. Arguments: module, variable, array, shape."""


@dataclass(frozen=True)
class Naming:
    """Naming scheme for the weights of a network.

    Args:
        title: Name of the scheme in messages.
        modules: Possible scopes of each layer in the file, by the path of the layer in the network.
        variables: Possible names of each variable in the file; by default as in the network.
        fit: Function that reduces an array to the shape of a variable.
        epsilon: Epsilon of BatchNorms after convolutions with a bias. None: as in the network.
    """

    title: str
    modules: Mapping[str, tuple[str, ...]]
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fit: Fit = lambda module, variable, array, shape: array
    epsilon: float | None = None

    def candidates(self, module: str, variable: str) -> tuple[str, ...]:
        """Returns the possible names of that variable in the file."""
        names = self.variables.get(variable, (variable,))
        return tuple(f"{scope}/{name}" for scope in self.modules.get(module, ()) for name in names)


def single_scopes(modules: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Converts one scope per layer to the form of `Naming.modules`."""
    return {name: (scope,) for name, scope in modules.items()}


def translated(names: Iterable[str], table: Table) -> dict[str, str]:
    r"""Returns the names that match a pattern of the table, mapped to the names in the file.

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
