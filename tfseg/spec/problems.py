"""Problems of a pipeline file, and the exception that holds all of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tfseg.errors import TfsegError, reason


@dataclass(frozen=True)
class Problem:
    """Problem of a pipeline file.

    Args:
        where: String, `file:line` of the value, or `override "key=value"`.
        path: String, dotted path of the value; `""` for the whole file.
        message: String with the received and the expected value, and what to do.
    """

    where: str
    path: str
    message: str

    def __str__(self) -> str:
        line = ": ".join(part for part in (self.where, self.path, self.message) if part)
        return line.encode("utf-8", "backslashreplace").decode("utf-8")  # file names need not be UTF-8


FieldProblem = tuple[tuple[str | int, ...], str]
"""A problem of a field: its path, relative to the spec that reports it, and a message."""


def prefixed(key: str | tuple[str | int, ...], problems: Iterable[FieldProblem]) -> Iterator[FieldProblem]:
    """Yields the problems of a section, each with the section's `key` prepended to its path."""
    keys = (key,) if isinstance(key, str) else key
    return (((*keys, *path), message) for path, message in problems)


def component_problems(part: Any, *about: Any) -> Iterator[FieldProblem]:
    """Yields the `problems` of a component. Exceptions and invalid results, as from a plugin, are problems too."""
    try:
        found = list(part.problems(*about))
    except Exception as error:  # noqa: BLE001 - code of a plugin
        yield (), _component_problem(f"raises {reason(error)}")
        return
    for problem in found:
        if isinstance(problem, tuple) and len(problem) == 2 and isinstance(problem[0], str | tuple):
            path = tuple(problem[0].split(".")) if isinstance(problem[0], str) else problem[0]
            yield path, str(problem[1])
        else:
            yield (), _component_problem(f"returns {problem!r}")


def _component_problem(what: str) -> str:
    return f'`problems` {what}. Expected pairs of a path, such as ("width",), and a message'


def formatted(problems: Iterable[FieldProblem]) -> str:
    """Formats problems, one line per problem."""
    return "\n".join(f"{'.'.join(map(str, path))}: {message}" for path, message in problems)


class SpecError(TfsegError):
    """All problems of a pipeline file. `problems` is the tuple of them; `str` gives one line per problem."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class InvalidFields(ValueError):
    """Fields that are valid by themselves but not in combination. Raised by validators of specs.

    Args:
        *problems: Problems, with paths relative to the spec.
    """

    def __init__(self, *problems: FieldProblem) -> None:
        self.problems = problems
        super().__init__(formatted(problems))
