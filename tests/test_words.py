"""Words that do not come back, and exceptions that docs/glossary.md defines."""

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tfseg.layers
import tfseg.losses
import tfseg.metrics
import tfseg.ops

ROOT = Path(__file__).resolve().parent.parent
GLOSSARY = ROOT / "docs" / "glossary.md"
FOLDERS = ("tfseg", "tests", "docs", "pipelines", "examples", "benchmarks")
FILES = [
    *sorted(
        file for folder in FOLDERS for file in (ROOT / folder).rglob("*.*") if file.suffix in (".py", ".md", ".yaml")
    ),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile")),
]

AMERICAN = r"[Cc]olour|[Oo]ptimis|[Nn]ormalis|[Gg]rey\b|[Cc]entre\b|[Nn]eighbour|[Aa]rtefact|[Ll]abelled|[Ii]nitialis"
WORDS = {
    r"\bplaces?\b": "position or pixel",
    r"\bpictures?\b": "image",
    r"\bfaults?\b": "problem",
    r"\bfigures\b": "values, metrics or counts",
    r"\bso-?manieth\b": "every n-th",
    r"\bis no run directory\b": "is not a run directory",
    r"\bnot foreseen\b": "Unexpected error",
    r"\btells? \w+ classes apart\b": "predicts ... classes",
    r"\bmade small\b": "minimized; training loss",
    r"\bWhoever\b": "a user who",
    r"\byardsticks?\b": "baseline",
    r"\bundecayed\b": "no_weight_decay",
    r"\bdeviation of channels\b": "std",
    r"\bfixed parameters\b": "non-trainable parameters",
    r"\bwings?\b": "package",
    AMERICAN: "American spelling",
}
"""Patterns that no text has, each with what to write instead."""
KEPT = {
    r"\bplaces?\b": (r"\bin(to)? (one |its )?place\b", r"\bin place of\b", r"\bdecimal places\b"),
    AMERICAN: (r'"colours?"',),  # a key of labels.json, and a choice, of earlier versions
}
"""Uses of a word that are right, as patterns of the line."""
EXEMPT = {
    Path(__file__).resolve(),
    GLOSSARY,
    *(ROOT / "tfseg" / name for name in ("spec/renamed.py", "serialization.py")),
    *(ROOT / "tests" / name for name in ("spec/test_renamed.py", "test_serialization.py")),
}
"""Files that list words and names of earlier versions."""
OPENINGS = "What|How|Which|Whether|Who|Whose|Where|When|Why|Of|As|One's"
"""First words that no docstring has."""


def exceptions() -> set[str]:
    """The terms that the glossary defines."""
    return set(re.findall(r"^\*\*([^*]+)\*\*", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE))


def allowed(pattern: str, line: str) -> bool:
    return any(re.search(kept, line) for kept in KEPT.get(pattern, ()))


@pytest.mark.parametrize("pattern", WORDS)
def test_a_word_does_not_come_back(pattern: str) -> None:
    if any(re.fullmatch(pattern, term) for term in exceptions()):
        pytest.skip("the glossary defines it")
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in FILES
        if file not in EXEMPT
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(pattern, line) and not allowed(pattern, line)
    ]
    assert not found, f"write {WORDS[pattern]}, or define it in docs/glossary.md:\n" + "\n".join(found)


def docstrings(file: Path) -> Iterator[tuple[int, str]]:
    """The docstrings of a file, and the strings under its assignments, each with its line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        body = getattr(node, "body", [])  # of a lambda or a conditional expression, a single node
        for first, second in pairwise(body if isinstance(body, list) else []):
            if isinstance(first, ast.Assign | ast.AnnAssign) and _is_text(second):
                yield second.lineno, second.value.value
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@pytest.mark.parametrize("folder", ["tfseg", "tests", "examples", "benchmarks"])
def test_docstrings_begin_with_a_verb_or_a_noun_phrase(folder: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for file in sorted((ROOT / folder).rglob("*.py"))
        for line, text in docstrings(file)
        if re.match(rf"(?:{OPENINGS})\b", text.strip())
    ]
    assert not found, "\n".join(found)


def public() -> Iterator[tuple[str, Any]]:
    for package in (tfseg.ops, tfseg.losses, tfseg.metrics):
        for name in package.__all__:
            if inspect.isfunction(value := getattr(package, name)):
                yield f"{package.__name__}.{name}", value
    for name in tfseg.layers.__all__:
        yield f"tfseg.layers.{name}.call", getattr(tfseg.layers, name).call


@pytest.mark.parametrize(
    ("name", "function"), list(public()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_tensors_have_a_type(name: str, function: Any) -> None:
    annotations = inspect.get_annotations(function, eval_str=True)
    assert not [argument for argument, hint in annotations.items() if hint is Any], name


def test_the_glossary_is_sorted() -> None:
    terms = re.findall(r"^\*\*([^*]+)\*\*", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    assert terms == sorted(terms, key=str.lower) and len(terms) == len(set(terms)) >= 10
