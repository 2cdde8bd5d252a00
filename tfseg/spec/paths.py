"""Where a value stands in a pipeline file: a tuple of keys and indices, written with dots."""

import json
import re
from collections.abc import Sequence

Key = str | int
"""A key of a map (text or a whole number) or an index of a list."""

_PLAIN = re.compile(r"[^\s.=\"']+")
_PART = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|([^\s.=":\']+))\s*')
"""A key in double quotes, in single ones, or in none."""


def dotted(path: Sequence[Key]) -> str:
    """`("data", "augment", 0)` as `data.augment.0`; a key that would not read back stands in quotes."""
    return ".".join(str(key) if _PLAIN.fullmatch(str(key)) else json.dumps(key, ensure_ascii=False) for key in path)


def split_override(text: str) -> tuple[tuple[str, ...], str] | None:
    """`a."b.c".0=value` or `a.'b.c'.0=value` as `(("a", "b.c", "0"), "value")`; None where `text` has not this form."""
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
    """The whole number that `text` writes, or None where it writes none (or one past 64 bits)."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 19 else None


def parts(path: str) -> tuple[str, ...]:
    """The keys of a dotted path: `data.augment.0` gives `("data", "augment", "0")`, `""` gives none."""
    found = split_override(f"{path}=")
    return found[0] if found else ()
