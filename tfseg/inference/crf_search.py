"""Coarse-to-fine search for the parameters of a fully connected CRF, as in DeepLab."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from tfseg.errors import RunError

Setting = dict[str, float]
"""Values of the five CRF parameters."""

SWEEPS = 2
"""Maximum number of sweeps over all parameters per round. A round ends as soon as a sweep changes no parameter."""
HALVINGS = 2
"""Number of rounds after the first one. Each halves the steps of the round before."""


class Steps(NamedTuple):
    """Grid of a parameter in the first round: `first`, `first + step`, up to `last`."""

    first: float
    last: float
    step: float

    def values(self) -> list[float]:
        """Returns the values of the grid.

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
"""Ranges of DeepLab v2 (Chen et al. 2018, section 4.1). DeepLab v1 has 50 to 100, 3 to 10 and 5 to 10."""


def checked_ranges(ranges: Mapping[str, tuple[float, float, float]]) -> dict[str, Steps]:
    """Returns DeepLab's search ranges, with those in `ranges` replaced.

    Raises:
        RunError: If a parameter does not exist, or its range is invalid.
    """
    checked = dict(DEEPLAB)
    for name, given in ranges.items():
        if name not in DEEPLAB:
            raise RunError(f"--range: expected one of {', '.join(DEEPLAB)}. Received: {name}")
        steps = checked[name] = Steps(*given)
        minimum = 0 if name.endswith("weight") else 1e-6
        if not (minimum <= steps.first <= steps.last < float("inf") and 0 <= steps.step < float("inf")):
            raise RunError(
                f"--range {name}: expected FIRST:LAST:STEP, ascending, with positive thetas and nonnegative weights. "
                f"Received: {':'.join(f'{value:g}' for value in given)}"
            )
    return checked


def search(score: Callable[[Setting], float], ranges: Mapping[str, Steps]) -> Setting:
    """Maximizes a score by coordinate search, one parameter at a time.

    The first round starts in the middle of all ranges and tries every value of each parameter in turn. Later rounds try
    the two neighbors of the best value, at half the steps of the round before, and may leave the ranges. A setting
    replaces the best one only if its score is strictly higher, so that the result is deterministic.

    >>> ranges = {"a": Steps(0, 8, 2), "b": Steps(1, 1, 0)}
    >>> search(lambda setting: -abs(setting["a"] - 4.6), ranges)
    {'a': 4.5, 'b': 1.0}

    Args:
        score: Function of a setting. It is called once per setting.
        ranges: Dict of parameter names to `Steps`. A range with a single value is not searched.

    Returns:
        The setting with the highest score.
    """
    cached: dict[tuple[float, ...], float] = {}

    def scored(setting: Setting) -> float:
        key = tuple(setting.values())
        if key not in cached:
            cached[key] = score(setting)
        return cached[key]

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
    """Yields `best` with other values of one parameter."""
    step = steps.step / 2**halving
    values = [best[name] - step, best[name] + step] if halving else steps.values()
    for value in values if len(steps.values()) > 1 else ():
        if value > 0 or value == steps.first:
            yield {**best, name: value}


def max_settings(ranges: Mapping[str, Steps]) -> int:
    """Returns the maximum number of settings that a search tries."""
    counts = [len(steps.values()) for steps in ranges.values()]
    fine = 2 * HALVINGS * sum(count > 1 for count in counts)
    return 1 + SWEEPS * (sum(counts) - len(counts) + fine)
