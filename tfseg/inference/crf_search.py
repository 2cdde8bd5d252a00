"""A coarse-to-fine search for the parameters of a fully connected CRF, as DeepLab's authors searched for theirs."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from tfseg.errors import RunError

Setting = dict[str, float]
"""A value for each of the CRF's five parameters."""

SWEEPS = 2
"""How often a round goes through all parameters at most; it ends as soon as none of them changes."""
HALVINGS = 2
"""Rounds with half the steps of the round before, after the one over whole ranges."""


class Steps(NamedTuple):
    """The values of a parameter that are tried first: `first`, `first + step`, up to `last`."""

    first: float
    last: float
    step: float

    def values(self) -> list[float]:
        """
        >>> Steps(30, 60, 10).values()
        [30.0, 40.0, 50.0, 60.0]
        """
        count = 1 if self.step == 0 else int((self.last - self.first) / self.step + 1e-6) + 1
        return [round(self.first + index * self.step, 6) * 1.0 for index in range(count)]


DEEPLAB: Mapping[str, Steps] = {
    "theta_alpha": Steps(30, 100, 10),
    "theta_beta": Steps(3, 6, 1),
    "bilateral_weight": Steps(3, 6, 1),
    "spatial_weight": Steps(3, 3, 0),
    "theta_gamma": Steps(3, 3, 0),
}
"""DeepLab's ranges (Chen et al., "DeepLab", 2017, section 4.1). Its first paper has 50 to 100, 3 to 10 and 5 to 10."""


def checked(ranges: Mapping[str, tuple[float, float, float]]) -> dict[str, Steps]:
    """DeepLab's ranges, with those given in their place.

    Raises:
        RunError: there is no such parameter, or its range has no value that is allowed.
    """
    found = dict(DEEPLAB)
    for name, given in ranges.items():
        if name not in DEEPLAB:
            raise RunError(f"--range: expected one of {', '.join(DEEPLAB)}. Received: {name}")
        steps = found[name] = Steps(*given)
        least = 0 if name.endswith("weight") else 1e-6
        if not (least <= steps.first <= steps.last < float("inf") and 0 <= steps.step < float("inf")):
            raise RunError(
                f"--range {name}: expected FIRST:LAST:STEP, upwards, with thetas above zero and no weight below. "
                f"Received: {':'.join(f'{value:g}' for value in given)}"
            )
    return found


def search(score: Callable[[Setting], float], ranges: Mapping[str, Steps]) -> Setting:
    """The setting of the highest score that is found by changing one parameter at a time.

    The first round starts in the middle of all ranges and tries every value of one parameter after the other. Later
    rounds try the two neighbors of the best value, at half the steps of the round before, and may leave the ranges.
    Only what is strictly better takes the place of the best, so that the same scores always give the same result.

    >>> ranges = {"a": Steps(0, 8, 2), "b": Steps(1, 1, 0)}
    >>> search(lambda at: -abs(at["a"] - 4.6), ranges)
    {'a': 4.5, 'b': 1.0}

    Args:
        score: of a setting; it is asked once for each.
        ranges: what to try first; a range of one value is not searched.
    """
    known: dict[tuple[float, ...], float] = {}

    def scored(setting: Setting) -> float:
        key = tuple(setting.values())
        if key not in known:
            known[key] = score(setting)
        return known[key]

    best = {name: steps.values()[len(steps.values()) // 2] for name, steps in ranges.items()}
    for halving in range(HALVINGS + 1):
        for _ in range(SWEEPS):
            start = best
            for name, steps in ranges.items():
                best = max([best, *_changes(best, name, steps, halving)], key=scored)  # the first of equals
            if best == start:
                break
    return best


def _changes(best: Setting, name: str, steps: Steps, halving: int) -> Iterator[Setting]:
    """`best` with other values of one parameter."""
    step = steps.step / 2**halving
    values = [best[name] - step, best[name] + step] if halving else steps.values()
    for value in values if len(steps.values()) > 1 else ():
        if value > 0 or value == steps.first:
            yield {**best, name: value}


def most(ranges: Mapping[str, Steps]) -> int:
    """How many settings a search may try."""
    counts = [len(steps.values()) for steps in ranges.values()]
    fine = 2 * HALVINGS * sum(count > 1 for count in counts)
    return 1 + SWEEPS * (sum(counts) - len(counts) + fine)
