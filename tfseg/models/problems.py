"""Errors for networks that cannot be built."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tfseg.errors import TfsegError, reason
from tfseg.layers.norm import IndivisibleChannels
from tfseg.spec.problems import FieldProblem, formatted, prefixed


class ModelError(TfsegError):
    """Error for a network that cannot be built from its spec.

    Args:
        message: Error message.
        problems: Problems by their paths in a pipeline, if known.
    """

    exit_code = 2

    def __init__(self, message: str, problems: Iterable[FieldProblem] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__(message)


def raise_problems(problems: Iterable[FieldProblem]) -> None:
    """Raises one ModelError for all `problems`, if there are any."""
    if found := tuple(prefixed("model", problems)):
        raise ModelError(formatted(found), found)


@contextmanager
def building(part: str, name: str) -> Iterator[None]:
    """Context in which a part of the network is built; converts any error of a custom part to a ModelError."""
    try:
        yield
    except (TfsegError, IndivisibleChannels):
        raise
    except Exception as error:  # noqa: BLE001 - custom code can raise anything
        message = f"{name} failed to build ({reason(error)}). Correct it, or use another one"
        raise_problems([((part,), message)])
