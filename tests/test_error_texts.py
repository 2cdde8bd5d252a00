"""Tests of rule 9: some test contains the constant part of every error message."""

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "tfseg").rglob("*.py"))
SHORTEST = 12
"""Minimum length of a constant part; shorter ones could occur anywhere."""


def plain(text: str) -> str:
    """Removes the backslashes of patterns and normalizes white space."""
    return re.sub(r"\s+", " ", text.replace("\\", ""))


@functools.cache
def string_literals() -> str:
    """Returns all string literals of the tests, joined."""
    literals = []
    for file in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                literals.append(plain(node.value))
    return "\n".join(literals)


def messages(module: Path) -> list[tuple[int, str]]:
    """Returns the longest constant part of each raised message, with its line."""
    found = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for argument in node.exc.args:
                parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
                fixed = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
                longest = plain(max(fixed, key=len, default=""))
                if len(longest) >= SHORTEST:
                    found.append((node.lineno, longest))
    return found


def test_messages_are_in_tests() -> None:
    missing = [
        f"{module.relative_to(ROOT)}:{line}: {text}"
        for module in MODULES
        for line, text in messages(module)
        if text.strip() not in string_literals()
    ]
    assert not missing, "no test contains these messages:\n" + "\n".join(missing)


def test_messages_are_found() -> None:
    """Checks the search itself: it finds messages, and detects a changed one."""
    found = [text for module in MODULES for _, text in messages(module)]
    assert len(found) > 30
    assert "no words like these stand in a " + "test" not in string_literals()
