"""Rule 9: the fixed words of every message stand in some test, so that no wording changes unseen."""

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "tfseg").rglob("*.py"))
SHORTEST = 12
"""Fixed words between two values that are shorter than this could stand anywhere."""


def plain(text: str) -> str:
    """Without the backslashes of a pattern and without the differences of white space."""
    return re.sub(r"\s+", " ", text.replace("\\", ""))


@functools.cache
def pinned() -> str:
    """Every text in every test, one after the other."""
    texts = []
    for file in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(plain(node.value))
    return "\n".join(texts)


def messages(module: Path) -> list[tuple[int, str]]:
    """The longest fixed part of each message that is raised, with its line."""
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


def test_messages_are_pinned() -> None:
    missing = [
        f"{module.relative_to(ROOT)}:{line}: {text}"
        for module in MODULES
        for line, text in messages(module)
        if text.strip() not in pinned()
    ]
    assert not missing, "no test holds these words:\n" + "\n".join(missing)


def test_messages_are_found() -> None:
    """The search itself: it sees the message of a raise in this project, and tells a changed one."""
    found = [text for module in MODULES for _, text in messages(module)]
    assert len(found) > 30
    assert "no words like these stand in a " + "test" not in pinned()
