"""What keeps the parts of a network from working together."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tfseg.errors import TfsegError, reason
from tfseg.layers.norm import Indivisible
from tfseg.spec.problems import Fault, told, under


class ModelError(TfsegError):
    """A network that cannot be built from what its spec says.

    Args:
        text: what keeps it from it.
        faults: the same by paths of a pipeline, where there are such.
    """

    exit_code = 2

    def __init__(self, text: str, faults: Iterable[Fault] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__(text)


def refuse(problems: Iterable[Fault]) -> None:
    """Raises one ModelError for all `problems`, if there are any."""
    if faults := tuple(under("model", problems)):
        raise ModelError(told(faults), faults)


@contextmanager
def telling(part: str, name: str) -> Iterator[None]:
    """Inside, a part of the network is built; one of a user's own may fail in any way."""
    try:
        yield
    except (TfsegError, Indivisible):
        raise
    except Exception as error:  # noqa: BLE001 - the code of a user's own
        message = f"{name} cannot be built into this network ({reason(error)}). Correct it, or take another one"
        refuse([((part,), message)])
