"""Docstrings of the fields of a class, read from its source file.

Pydantic has `use_attribute_docstrings` for this, but it searches all loaded modules for each class, and TensorFlow
loads thousands of modules.
"""

import ast
import functools
import inspect
import re
import sys
from pathlib import Path
from typing import ClassVar, get_origin


def field_docstrings(cls: type) -> dict[str, str]:
    """Returns the docstrings of the fields of `cls` that have one; none if its module has no source file."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    found = _by_class(file).get(cls.__qualname__, {}) if file and Path(file).suffix == ".py" else {}
    hints = cls.__annotations__
    return {name: text for name, text in found.items() if name in hints and get_origin(hints[name]) is not ClassVar}


@functools.lru_cache(maxsize=8)  # the classes of a file follow one another
def _by_class(file: str) -> dict[str, dict[str, str]]:
    tree = ast.parse(Path(file).read_bytes(), filename=file)
    return {node.name: _docstrings(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _docstrings(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[field.target.id] = inspect.cleandoc(text.value)
    return found


def first_sentence(text: str) -> str:
    r"""Returns the first sentence of a text, on one line.

    >>> first_sentence("Pools, as Simonyan et al. 2015 do. Then\nscores.")
    'Pools, as Simonyan et al. 2015 do.'
    """
    paragraph = " ".join(text.split("\n\n", 1)[0].split())
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", paragraph, maxsplit=1)[0].rstrip(".") + "." if paragraph else ""
