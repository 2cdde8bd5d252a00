"""Report of the weights that were loaded from a file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN = 6
"""Maximum number of names per line of the report."""


@dataclass(frozen=True)
class WeightsReport:
    """Matches and mismatches between a weight file and a network.

    Args:
        source: Name of the file or other source.
        naming: Title of the naming scheme of the file.
        filled: Paths of the layers that were filled.
        initial: Paths of the layers that keep their initial weights.
        unused: Names of the arrays of the file that were not used, except zero biases.
        folded: Names of the BatchNorms that only add a bias, because their scale has been folded into the kernel of the
            preceding convolution; see `unfold_batch_norm`.
        adapted: Paths of the layers whose RGB kernels were adapted to the number of channels of the images.
        classes: Text about the classes of the file and of the network, if they were matched by name.
        images: Text about the images that the weights were trained on, if they differ from those of the network.
    """

    source: str
    naming: str
    filled: tuple[str, ...]
    initial: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    classes: str = ""
    images: str = ""

    @property
    def left_over(self) -> tuple[str, ...]:
        """Layers of the file with arrays in `unused`."""
        return scopes(self.unused)

    def __str__(self) -> str:
        total = len(self.filled) + len(self.initial)
        stem = f"\n  averaged   over RGB, times 3 / channels: {listed(self.adapted)}" if self.adapted else ""
        folded = f", of them {len(self.folded)} BatchNorms that only add a folded bias" if self.folded else ""
        further = {"classes   ": self.classes, "images    ": self.images}
        return (
            f"{self.source}: {self.naming}\n"
            f"  filled     {len(self.filled)} of {total} layers with weights{folded}{stem}\n"
            f"  initial    {listed(self.initial)}\n"
            f"  left over  {listed(self.left_over)}"
            + "".join(f"\n  {title} {text}" for title, text in further.items() if text)
        )


def scopes(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the distinct layers of arrays with these names."""
    return tuple(dict.fromkeys(name.partition("/.ATTRIBUTES")[0].rpartition("/")[0] or name for name in names))


def listed(names: Sequence[str]) -> str:
    """Returns the first names, separated by commas, and the number of the others."""
    more = f" … and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "none"
