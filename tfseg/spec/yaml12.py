"""Parser from YAML 1.2 text to a tree of nodes: PyYAML's parser, with the scalars of the core schema.

Supported, besides mappings, lists and scalars: comments, anchors and aliases (an alias is a copy), one document. Not
supported: tags, merge keys (`<<`, only in YAML 1.1; use `include`), duplicate keys, and keys other than strings and
integers.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tfseg.spec.nodes import Node, Origin, Text
from tfseg.spec.paths import Key, dotted
from tfseg.spec.problems import Problem, SpecError
from tfseg.spec.scalars import scalar

DEPTH = 64
"""Maximum nesting depth. It keeps every recursion over a tree far from the interpreter's limit."""
NODES = 100_000
"""Maximum number of values of a document after expanding aliases."""

_HINTS = {
    "mapping values are not allowed here": 'put a string that contains ": " in quotes',
    "found character '\\t' that cannot start any token": "indent with spaces, not with tabs",
    "found character '@' that cannot start any token": "put the string in quotes",
    "found character '`' that cannot start any token": "put the string in quotes",
    "found character '%' that cannot start any token": "put the string in quotes",
}
_UNPRINTABLE = re.compile("[\0\ud800-\udfff]")


def compose(
    text: str, at: Callable[[int], Origin], folder: Path, path: tuple[Key, ...], problems: list[Problem]
) -> Node:
    """Parses `text` to a tree. Problems that leave the text readable are added to `problems`.

    Args:
        text: String, a YAML document.
        at: Function that returns the origin of a line (from 1).
        folder: Folder to which relative paths in the text refer.
        path: Path of the tree in the whole document.
        problems: List to which problems are added.

    Raises:
        SpecError: If the text is not YAML. It holds `problems` and, as the last one, this problem.
    """
    composer = _Composer(text, at, folder, problems)
    try:
        return composer.document(path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem or error.context)
        line = mark.line if mark else composer.line
        raise composer.fatal(line, f"not YAML: {problem}{_context(error)}{_hint(problem)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position)
        code = error.character if isinstance(error.character, int) else ord(error.character)
        message = f"not YAML: the character U+{code:04X} is not allowed in a text file"
        raise composer.fatal(line, message) from error
    except (ValueError, OverflowError) as error:  # not caught by PyYAML's scanner
        message = 'not YAML: a directive or an escape (such as "\\UFFFFFFFF") is out of range'
        raise composer.fatal(composer.line, message) from error


def _context(error: yaml.MarkedYAMLError) -> str:
    if not error.context or error.context_mark is None or error.problem is None:
        return ""
    return f" ({error.context}, which begins in line {error.context_mark.line + 1})"


def _hint(problem: str) -> str:
    return f"; {_HINTS[problem]}" if problem in _HINTS else ""


class _Composer:
    """Composer of nodes from PyYAML's events."""

    def __init__(self, text: str, at: Callable[[int], Origin], folder: Path, problems: list[Problem]) -> None:
        self.events = yaml.parse(text, Loader=yaml.SafeLoader)
        self.at, self.folder, self.problems = at, folder, problems
        self.anchors: dict[str, tuple[Node, int, int]] = {}
        self.line = self.size = self.deepest = 0

    def fatal(self, line: int, message: str) -> SpecError:
        return SpecError([*self.problems, Problem(str(self.at(line + 1)), "", message)])

    def report(self, origin: Origin, path: tuple[Key, ...], message: str) -> None:
        self.problems.append(Problem(str(origin), dotted(path), message))

    def next(self) -> Any:
        event: Any = next(self.events)
        self.line = event.start_mark.line
        return event

    def document(self, path: tuple[Key, ...]) -> Node:
        self.next()  # the stream's start
        if isinstance(self.next(), yaml.StreamEndEvent):
            return Node(None, self.at(1))
        root = self.node(self.next(), path)
        self.next()  # the document's end
        if not isinstance(self.next(), yaml.StreamEndEvent):
            raise self.fatal(self.line, 'a second document begins here ("---"); write one file per document')
        return root

    def node(self, event: Any, path: tuple[Key, ...]) -> Node:
        origin = self.at(event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, origin, path)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.report(origin, path, f'tags are not supported; received "{tag}"; remove it (quotes make a string)')
        size, deepest, self.deepest = self.size, self.deepest, 0
        self.grow(1, 0, path)
        node = Node(self.value(event, origin, path), origin)
        if event.anchor:
            self.anchors[event.anchor] = node, self.size - size, self.deepest - len(path)
        self.deepest = max(self.deepest, deepest)
        return node

    def grow(self, size: int, height: int, path: tuple[Key, ...]) -> None:
        """Counts values at `path` before they are added."""
        self.size, self.deepest = self.size + size, max(self.deepest, len(path) + height)
        if self.deepest > DEPTH:
            raise self.fatal(self.line, f"nested deeper than {DEPTH} levels")
        if self.size > NODES:
            raise self.fatal(self.line, f"more than {NODES} values after expanding aliases")

    def alias(self, event: Any, origin: Origin, path: tuple[Key, ...]) -> Node:
        if event.anchor not in self.anchors:
            message = f'"*{event.anchor}" needs a complete "&{event.anchor}" before it; put strings in quotes'
            self.report(origin, path, message)
            return Node(None, origin)
        node, size, height = self.anchors[event.anchor]
        self.grow(size, height, path)
        return replace(node, origin=origin)

    def value(self, event: Any, origin: Origin, path: tuple[Key, ...]) -> Any:
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(item := self.next(), yaml.SequenceEndEvent):
                items.append(self.node(item, (*path, len(items))))
            return tuple(items)
        return self.scalar(event, origin, path)

    def mapping(self, path: tuple[Key, ...]) -> dict[Key, Node]:
        found: dict[Key, Node] = {}
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            key = self.node(event, path)
            value = self.node(self.next(), (*path, key.plain) if isinstance(key.value, Key) else path)
            if message := _bad_key(key, event, found):
                self.report(key.origin, (*path, key.plain) if isinstance(key.value, str) else path, message)
            else:
                found[str(key.value) if isinstance(key.value, str) else key.value] = replace(value, origin=key.origin)
        return found

    def scalar(self, event: Any, origin: Origin, path: tuple[Key, ...]) -> Any:
        value = event.value
        if event.style is None:
            try:
                value = scalar(value)
            except ValueError as error:
                self.report(origin, path, f"{error}; received {_shortened(value)}")
                return 2**63 - 1
        if not isinstance(value, str):
            return value
        if bad := _UNPRINTABLE.search(value):
            self.report(origin, path, f"the character U+{ord(bad[0]):04X} is not allowed in a string")
        text = Text(value)
        text.folder = self.folder
        return text


def _bad_key(key: Node, event: Any, found: dict[Key, Node]) -> str | None:
    if isinstance(key.value, bool) or not isinstance(key.value, str | int):
        kind = {dict: "a mapping", tuple: "a list", type(None): "null"}.get(type(key.value), str(key.value).lower())
        return f"a key must be a string or an integer; received {kind}; put it in quotes"
    if key.value == "<<" and getattr(event, "style", None) is None:
        return "merge keys belong to YAML 1.1; write the keys out, or use include"
    return f"duplicate key; first given at {found[key.value].origin}" if key.value in found else None


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:30]}… ({len(text)} digits)"
