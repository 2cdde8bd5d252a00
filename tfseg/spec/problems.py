"""A mistake in a pipeline file, and the error that carries all of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tfseg.errors import TfsegError


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Args:
        where: `file:line` of the text at fault, or `override "key=value"`.
        path: the dotted path of the value, `""` for the file as a whole.
        message: what was received, what was expected, what to do.
    """

    where: str
    path: str
    message: str

    def __str__(self) -> str:
        line = ": ".join(part for part in (self.where, self.path, self.message) if part)
        return line.encode("utf-8", "backslashreplace").decode("utf-8")  # a file name may hold what no terminal prints


Fault = tuple[tuple[str | int, ...], str]
"""What does not fit, as the path of a value, seen from the spec that says so, and a message."""


def under(key: str | tuple[str | int, ...], faults: Iterable[Fault]) -> Iterator[Fault]:
    """Faults of a section, seen from the spec that has the section under `key`."""
    keys = (key,) if isinstance(key, str) else key
    return (((*keys, *path), message) for path, message in faults)


def told(faults: Iterable[Fault]) -> str:
    """A line for each fault; nothing where there is none."""
    return "\n".join(f"{'.'.join(map(str, path))}: {message}" for path, message in faults)


class SpecError(TfsegError):
    """Every mistake of a pipeline file at once: `problems` holds them, `str` gives one line for each."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class Misfit(ValueError):
    """Values that are right one by one and do not fit each other: raised by a spec's own check, to point at keys.

    Args:
        faults: what is wrong, as paths seen from the spec that checks.
    """

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__(told(faults))
