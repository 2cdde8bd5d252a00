"""Spec fields derived from the constructor arguments of the class that the spec builds."""

import inspect
import re
from typing import Any

from pydantic import Field

THEIRS = object()


class Arguments:
    """Arguments of a class that documents them under `Args:`.

    A spec that builds the class gives the names, types and bounds of its fields, and the defaults that differ:

    >>> class Blur:
    ...     '''Blurs an image.
    ...
    ...     Args:
    ...         size: Height and width
    ...             of the window.
    ...     '''
    ...
    ...     def __init__(self, size: int = 3) -> None: ...
    >>> field = Arguments(Blur)("size", 5)
    >>> field.default, field.description
    (5, 'Height and width of the window.')

    Args:
        made: The class.
    """

    def __init__(self, made: type) -> None:
        self.made = made
        self._parameters = inspect.signature(made).parameters
        self._texts = _texts(inspect.getdoc(made) or "")

    def __call__(self, name: str, default: Any = THEIRS, **bounds: Any) -> Any:
        """Returns the field for an argument.

        Args:
            name: Name of the argument.
            default: Default of the field. Defaults to that of the argument.
            **bounds: Bounds, as arguments of pydantic's `Field`.
        """
        chosen = self._parameters[name].default if default is THEIRS else default
        return Field(default=chosen, description=self._texts[name], **bounds)

    def of(self, spec: Any) -> dict[str, Any]:
        """Returns the fields of `spec` that are arguments of the class, as keyword arguments."""
        return {name: getattr(spec, name) for name in self._parameters if hasattr(spec, name)}


def _texts(docstring: str) -> dict[str, str]:
    """Returns the description of each argument under `Args:`, as sentences."""
    _, _, section = docstring.partition("\nArgs:\n")
    section = re.split(r"\n(?=\S)", section)[0]
    found = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE)
    return {name: _sentence(" ".join(text.split())) for name, text in found}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
