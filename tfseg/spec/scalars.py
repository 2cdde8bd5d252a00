"""Plain scalars of the YAML 1.2 core schema: numbers, booleans, null and strings."""

import re
from typing import Any

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def scalar(text: str) -> Any:
    """Converts a plain scalar by the YAML 1.2 core schema.

    >>> [scalar(text) for text in ("1e-4", "no", "010", "0o10", "~", "1_000", "2020-01-01")]
    [0.0001, 'no', 10, 8, None, '1_000', '2020-01-01']

    Raises:
        ValueError: If an integer does not fit 64 bits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)) if len(text) < 100 else 2**64
        if not -(2**63) <= number < 2**63:
            raise ValueError("an integer must fit 64 bits")
        return number
    return text if is_text(text) else float(re.sub(r"\.(?=[a-zA-Z])", "", text))


def is_text(text: str) -> bool:
    """Returns whether a plain scalar is a string, and not a number, a boolean or null."""
    return text not in _WORDS and _INTEGER.fullmatch(text) is None and _FLOAT.fullmatch(text) is None
