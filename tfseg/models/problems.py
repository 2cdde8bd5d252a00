"""What keeps the parts of a network from working together."""

from collections.abc import Iterable

from tfseg.errors import TfsegError
from tfseg.spec.problems import Fault, told, under


class ModelError(TfsegError):
    """A network that cannot be built from what its spec says."""

    exit_code = 2


def refuse(problems: Iterable[Fault]) -> None:
    """Raises one ModelError for all `problems`, if there are any."""
    if lines := told(under("model", problems)):
        raise ModelError(lines)
