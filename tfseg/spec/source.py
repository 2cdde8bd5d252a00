"""Reading of a pipeline file, its includes and overrides into one document with the origins of all values."""

import difflib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tfseg.spec.messages import received
from tfseg.spec.nodes import Node, NoSuchPath, Origin, merge, put
from tfseg.spec.paths import Key, dotted, index, parts, split_override
from tfseg.spec.problems import Problem, SpecError
from tfseg.spec.renamed import with_new_names
from tfseg.spec.yaml12 import DEPTH, compose

INCLUDE = "include"
INCLUDABLE = (".yaml", ".yml")
"""Suffixes of files that can be included. Other files are not opened, so that no message can quote their content."""


@dataclass(frozen=True)
class Document:
    """Content of a pipeline file as plain data, with the origin of every value.

    Args:
        data: Dicts, tuples and scalars. Strings have an attribute `folder`.
        problems: Problems of the text that leave it readable, such as duplicate keys. `validate` reports them together
            with its own.
        origins: Origin of every path.
    """

    data: dict[Key, Any]
    problems: tuple[Problem, ...] = ()
    origins: dict[tuple[Key, ...], Origin] = field(default_factory=dict, repr=False)

    def where(self, path: str | Sequence[Key]) -> str:
        """Returns the `file:line` (or override) of a value, or of its nearest parent that has one."""
        keys = self.keys(path) if isinstance(path, str) else tuple(path)
        known = next((keys[:end] for end in range(len(keys), -1, -1) if keys[:end] in self.origins), None)
        return "" if known is None else str(self.origins[known])

    def keys(self, path: str) -> tuple[Key, ...]:
        """Splits a dotted path into keys, with the indices of lists as integers."""
        found: tuple[Key, ...] = ()
        for part in parts(path):
            holder, number = self.at(found), index(part)
            counted = isinstance(holder, tuple) or (isinstance(holder, dict) and part not in holder)
            found = (*found, number if number is not None and counted else part)
        return found

    def at(self, path: Sequence[Key], default: Any = None) -> Any:
        """Returns the value at a path, or `default`."""
        value: Any = self.data
        for key in path:
            held = key in value if isinstance(value, dict) else isinstance(value, tuple) and key in range(len(value))
            if not held:
                return default
            value = value[key]
        return value

    def overrides(self, path: Sequence[Key]) -> tuple[str, ...]:
        """Returns the overrides that set a value at `path` or below it."""
        section = tuple(path)
        origins = [at for keys, at in self.origins.items() if keys[: len(section)] == section and at.line is None]
        return tuple(dict.fromkeys(map(str, origins)))

    def problem(self, path: Sequence[Key], message: str, within: Sequence[Key] | None = None) -> Problem:
        """Returns a problem at `path`. The message lists overrides at or below `within`, as they may be the cause."""
        where = self.where(path)
        others = [] if within is None else [override for override in self.overrides(within) if override != where]
        return Problem(where, dotted(path), message + (f" (with {' and '.join(others)})" if others else ""))


def read(path: str | Path, overrides: Iterable[str] = (), earlier: Callable[[Path], bool] | None = None) -> Document:
    """Reads a pipeline file, the files that it includes, and overrides such as `model.backbone.output_stride=8`.

    Args:
        path: Path of the file.
        overrides: Strings `key=value`, applied in their order.
        earlier: Function that returns whether a file may come from an earlier version of tfseg; renamed keys in such a
            file are converted.

    Raises:
        SpecError: If a file is missing or is not YAML. Other problems are stored in `Document.problems`.
    """
    problems: list[Problem] = []
    files = _Files(problems, earlier or (lambda _: False))
    root = files.included(files.parsed(Path(path)), Path(path))
    for text in overrides:
        root = _overridden(root, text, problems)
    origins = {keys: node.origin for keys, node in root.walk()}
    return Document(root.plain, tuple(problems), origins)


@dataclass(frozen=True)
class _Files:
    """Reader of a file and its includes."""

    problems: list[Problem]
    earlier: Callable[[Path], bool]

    def parsed(self, path: Path, named_at: Origin | None = None) -> Node:
        """Parses a file to a tree whose root is a mapping.

        `named_at` is the origin of the `include` that lists the file.
        """
        problems = self.problems
        text = _decoded(path, problems, named_at)
        folder = path.resolve().parent
        root = compose(text, lambda line: Origin(str(path), line), folder, (), problems)
        if not isinstance(root.value, dict):
            shown = received(root.plain) if named_at is None else "something else"
            found = "the file is empty" if root.value is None else f"received {shown}"
            raise SpecError([*problems, Problem(str(root.origin), "", f"expected a mapping at the top level; {found}")])
        return with_new_names(root) if self.earlier(path) else root

    def included(self, root: Node, path: Path) -> Node:
        """Merges `root` into the files of its `include`; later files override earlier ones."""
        named, problems = root.value.get(INCLUDE), self.problems
        if named is None:
            return root
        own = replace(root, value={key: node for key, node in root.value.items() if key != INCLUDE})
        names = named.value if isinstance(named.value, tuple) else (named,)
        if not all(isinstance(node.value, str) for node in names):
            message = f"expected the path of a file, or a list of paths; received {received(named.plain)}"
            problems.append(Problem(str(named.origin), INCLUDE, message))
            return own
        below = Node({}, root.origin)
        for node in names:
            file = Path(os.path.normpath(path.parent / os.path.expanduser(node.value)))
            if file.suffix not in INCLUDABLE:
                message = f"expected files that end in {' or '.join(INCLUDABLE)}; received {received(node.value)}"
                problems.append(Problem(str(named.origin), INCLUDE, message))
                continue
            below = merge(below, _leaf(self.parsed(file, node.origin), path, problems))
        return merge(below, own)


def _decoded(path: Path, problems: list[Problem], named_at: Origin | None) -> str:
    where, key, name = (str(path), "", "") if named_at is None else (str(named_at), INCLUDE, f' "{path}"')
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # reading a pipe could block, a device never end
            message = f"expected a regular file; received a pipe or a device{name}"
            raise SpecError([*problems, Problem(where, key, message)])
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise SpecError([*problems, Problem(where, key, f"no such file{name}{_neighbor(path)}")]) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError([*problems, Problem(where, key, f"cannot read the file{name}: {reason}")]) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        origin = Origin(str(path), content.count(b"\n", 0, error.start) + 1)
        message = f"not UTF-8 text: byte 0x{content[error.start]:02x} at position {error.start}; save it as UTF-8"
        raise SpecError([*problems, Problem(str(origin), "", message)]) from error


def _neighbor(path: Path) -> str:
    """Returns a hint at a file of a similar name in the same folder."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, sorted(names), n=1)
    return f'; did you mean "{path.parent / near[0]}"?' if near else ""


def _leaf(root: Node, by: Path, problems: list[Problem]) -> Node:
    """Returns the tree of an included file without its `include`, which is a problem."""
    if INCLUDE in root.value:
        message = f"an included file cannot include others; list them all in {by}"
        problems.append(Problem(str(root.value[INCLUDE].origin), INCLUDE, message))
    return replace(root, value={key: node for key, node in root.value.items() if key != INCLUDE})


def _overridden(root: Node, text: str, problems: list[Problem]) -> Node:
    """Applies an override to `root`. An invalid one is added to `problems`."""
    origin = Origin("override " + _quoted(text))
    found = split_override(text)
    if found is None:
        message = "expected key=value with a dotted key, such as model.backbone.output_stride=8"
        problems.append(Problem(str(origin), "", message))
        return root
    keys, value = found
    if len(keys) > DEPTH:
        problems.append(Problem(str(origin), "", f"nested deeper than {DEPTH} levels"))
        return root
    if keys[0] == INCLUDE:
        problems.append(Problem(str(origin), INCLUDE, "only files can include others; write it in the file"))
        return root
    try:
        new = compose(value, lambda line: origin, Path.cwd(), keys, problems)
        return put(root, keys, new)
    except SpecError as error:
        message = error.problems[-1].message
        hint = "" if "quotes" in message else "; put strings in quotes"
        problems.append(Problem(str(origin), dotted(keys), message + hint))
    except NoSuchPath as error:
        problems.append(Problem(str(origin), dotted(error.args[0]), error.args[1]))
    return root


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') + '"'
