"""A mistake in a pipeline file, and the error that carries all of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tfseg.errors import TfsegError, reason


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


FieldProblem = tuple[tuple[str | int, ...], str]
"""What does not fit, as the path of a value, seen from the spec that says so, and a message."""


def prefixed(key: str | tuple[str | int, ...], faults: Iterable[FieldProblem]) -> Iterator[FieldProblem]:
    """Faults of a section, seen from the spec that has the section under `key`."""
    keys = (key,) if isinstance(key, str) else key
    return (((*keys, *path), message) for path, message in faults)


def component_problems(part: Any, *about: Any) -> Iterator[FieldProblem]:
    """What a component says of itself; one of a user's own may fail at it, or say it in another form."""
    try:
        found = list(part.problems(*about))
    except Exception as error:  # noqa: BLE001 - the code of a user's own
        yield (), _own_fault(f"fails with {reason(error)}")
        return
    for fault in found:
        if isinstance(fault, tuple) and len(fault) == 2 and isinstance(fault[0], str | tuple):
            path = tuple(fault[0].split(".")) if isinstance(fault[0], str) else fault[0]
            yield path, str(fault[1])
        else:
            yield (), _own_fault(f"gives {fault!r}")


def _own_fault(what: str) -> str:
    return f'its `problems` {what}. Expected pairs of a path, such as ("width",), and a message, or none at all'


def formatted(faults: Iterable[FieldProblem]) -> str:
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


class InvalidFields(ValueError):
    """Values that are right one by one and do not fit each other: raised by a spec's own check, to point at keys.

    Args:
        faults: what is wrong, as paths seen from the spec that checks.
    """

    def __init__(self, *faults: FieldProblem) -> None:
        self.faults = faults
        super().__init__(formatted(faults))
