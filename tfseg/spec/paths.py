"""Paths of values in a pipeline file: tuples of keys and indices, written with dots."""

import json
import re
from collections.abc import Sequence

Key = str | int
"""A key of a mapping (a string or an integer) or an index of a list."""

_PLAIN = re.compile(r"[^\s.=:\"']+")
_PART = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|([^\s.=":\']+))\s*')
"""A key in double quotes, in single quotes, or without quotes."""


def dotted(path: Sequence[Key]) -> str:
    """Returns `data.augment.0` for `("data", "augment", 0)`; quotes keys that would not parse back."""
    return ".".join(str(key) if _PLAIN.fullmatch(str(key)) else json.dumps(key, ensure_ascii=False) for key in path)


def split_override(text: str) -> tuple[tuple[str, ...], str] | None:
    """Splits `a."b.c".0=value` or `a.'b.c'.0=value` into `(("a", "b.c", "0"), "value")`; None for any other text."""
    keys: list[str] = []
    position = 0
    while match := _PART.match(text, position):
        double, single, plain = match.groups()
        keys.append(plain or single or "" if double is None else re.sub(r"\\(.)", r"\1", double))
        position = match.end() + 1
        separator = text[match.end() : position]
        if separator == "=":
            return tuple(keys), text[position:]
        if separator != ".":
            break
    return None


def index(text: str) -> int | None:
    """Returns the integer value of `text`, or None if it is not an integer of at most 18 digits."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 19 else None


def parts(path: str) -> tuple[str, ...]:
    """Returns the keys of a dotted path: `data.augment.0` gives `("data", "augment", "0")`, `""` gives none."""
    found = split_override(f"{path}=")
    return found[0] if found else ()
