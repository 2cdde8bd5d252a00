"""What became of a file of weights."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN = 6
"""Names that a line of the report lists before it counts the rest."""


@dataclass(frozen=True)
class WeightsReport:
    """What matched between a file and a network, and what did not.

    Args:
        source: the file, or what was given instead.
        naming: how the file names its arrays.
        filled: the layers that it filled, by their paths in the network.
        initial: the layers that it has nothing for; they keep their initial weights.
        unused: its arrays that the network has no place for, or that could not be read as weights.
        folded: the BatchNorms that only add a bias, because their statistics were folded into the kernel before them;
            see `unfold_batch_norm`.
    """

    source: str
    naming: str
    filled: tuple[str, ...]
    initial: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()

    @property
    def left_over(self) -> tuple[str, ...]:
        """The layers of the file that `unused` belongs to."""
        return scopes(self.unused)

    def __str__(self) -> str:
        total = len(self.filled) + len(self.initial)
        folded = f", of them {len(self.folded)} BatchNorms that only add a folded bias" if self.folded else ""
        return (
            f"{self.source}: {self.naming}\n"
            f"  filled     {len(self.filled)} of {total} layers with weights{folded}\n"
            f"  initial    {listed(self.initial)}\n"
            f"  left over  {listed(self.left_over)}"
        )


def scopes(names: Iterable[str]) -> tuple[str, ...]:
    """The layers that arrays belong to, each once."""
    return tuple(dict.fromkeys(name.partition("/.ATTRIBUTES")[0].rpartition("/")[0] or name for name in names))


def listed(names: Sequence[str]) -> str:
    """The first few of `names`, and how many more there are."""
    more = f" … and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "none"
