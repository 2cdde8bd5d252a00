"""A mistake in a pipeline file, and the error that carries all of them."""

from collections.abc import Iterable
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
        problems: pairs of a dotted path, seen from the spec that checks, and what is wrong there.
    """

    def __init__(self, *problems: tuple[str, str]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{path}: {message}" for path, message in problems))
