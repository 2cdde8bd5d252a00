"""Fields of a spec that are arguments of what it builds: their defaults and their texts stay where they are."""

import inspect
import re
from typing import Any

from pydantic import Field

THEIRS = object()


class Arguments:
    """The arguments of a class that documents them under `Args:`.

    A spec that builds it says the names, the types and the bounds of its fields, and where it begins differently:

    >>> class Blur:
    ...     '''Blurs.
    ...
    ...     Args:
    ...         size: height and width
    ...             of the window.
    ...     '''
    ...
    ...     def __init__(self, size: int = 3) -> None: ...
    >>> field = Arguments(Blur)("size", 5)
    >>> field.default, field.description
    (5, 'Height and width of the window.')

    Args:
        made: the class.
    """

    def __init__(self, made: type) -> None:
        self.made = made
        self._parameters = inspect.signature(made).parameters
        self._texts = _texts(inspect.getdoc(made) or "")

    def __call__(self, name: str, default: Any = THEIRS, **bounds: Any) -> Any:
        """The field for an argument.

        Args:
            name: of the argument.
            default: where the spec begins, if not as the class does.
            **bounds: of pydantic's `Field`.
        """
        chosen = self._parameters[name].default if default is THEIRS else default
        return Field(default=chosen, description=self._texts[name], **bounds)

    def of(self, spec: Any) -> dict[str, Any]:
        """What a spec says of the arguments."""
        return {name: getattr(spec, name) for name in self._parameters if hasattr(spec, name)}


def _texts(docstring: str) -> dict[str, str]:
    """What stands under `Args:` about each argument, as sentences."""
    _, _, section = docstring.partition("\nArgs:\n")
    section = re.split(r"\n(?=\S)", section)[0]
    found = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE)
    return {name: _sentence(" ".join(text.split())) for name, text in found}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
