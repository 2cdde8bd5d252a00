"""What keeps the parts of a network from working together."""

from collections.abc import Iterable

from tfseg.errors import TfsegError

Problem = tuple[tuple[str | int, ...], str]
"""The path of a value, seen from the model's spec, and what is wrong there."""


class ModelError(TfsegError):
    """A network that cannot be built from what its spec says."""

    exit_code = 2


def refuse(problems: Iterable[Problem]) -> None:
    """Raises one ModelError for all `problems`, if there are any."""
    if lines := [f"model.{'.'.join(map(str, path))}: {message}" for path, message in problems]:
        raise ModelError("\n".join(lines))
