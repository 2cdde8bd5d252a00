"""How a file calls what a network has: from the paths of our layers to the names in the file."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Table = Sequence[tuple[str, str]]
"""Pairs of a pattern of our names, and what theirs is then; the first that fits counts."""


@dataclass(frozen=True)
class Naming:
    """A way to name the weights of a network.

    Args:
        title: what to call it in a message.
        modules: what each of our layers is called, by its path in the network; others have no name.
        variables: what our variables are called, each by one of several names; others as we call them.
    """

    title: str
    modules: Mapping[str, str]
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def candidates(self, module: str, variable: str) -> tuple[str, ...]:
        """The names under which that variable may stand in the file."""
        if module not in self.modules:
            return ()
        return tuple(f"{self.modules[module]}/{name}" for name in self.variables.get(variable, (variable,)))


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
