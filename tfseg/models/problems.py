"""What keeps the parts of a network from working together."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tfseg.errors import TfsegError, reason
from tfseg.layers.norm import IndivisibleChannels
from tfseg.spec.problems import FieldProblem, formatted, prefixed


class ModelError(TfsegError):
    """A network that cannot be built from what its spec says.

    Args:
        text: what keeps it from it.
        faults: the same by paths of a pipeline, where there are such.
    """

    exit_code = 2

    def __init__(self, text: str, faults: Iterable[FieldProblem] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__(text)


def raise_problems(problems: Iterable[FieldProblem]) -> None:
    """Raises one ModelError for all `problems`, if there are any."""
    if faults := tuple(prefixed("model", problems)):
        raise ModelError(formatted(faults), faults)


@contextmanager
def building(part: str, name: str) -> Iterator[None]:
    """Inside, a part of the network is built; one of a user's own may fail in any way."""
    try:
        yield
    except (TfsegError, IndivisibleChannels):
        raise
    except Exception as error:  # noqa: BLE001 - the code of a user's own
        message = f"{name} cannot be built into this network ({reason(error)}). Correct it, or take another one"
        raise_problems([((part,), message)])
