"""A pipeline file, its includes and the overrides of a command line, read into one document that knows its places."""

import difflib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tfseg.spec.messages import received
from tfseg.spec.nodes import Node, NoSuchPlace, Place, merge, put
from tfseg.spec.paths import Key, dotted, index, parts, split_override
from tfseg.spec.problems import Problem, SpecError
from tfseg.spec.renamed import with_new_names
from tfseg.spec.yaml12 import DEPTH, compose

INCLUDE = "include"
INCLUDABLE = (".yaml", ".yml")
"""Files of other kinds are not ours, and a message must not quote them."""


@dataclass(frozen=True)
class Document:
    """What was read: plain data, and the place of every value in it.

    Args:
        data: dicts, tuples and scalars. Text is a `str` that has a `folder`.
        problems: faults of the text that left it readable (duplicate keys and the like); `validate` reports them
            together with its own.
        places: the place of every path.
    """

    data: dict[Key, Any]
    problems: tuple[Problem, ...] = ()
    places: dict[tuple[Key, ...], Place] = field(default_factory=dict, repr=False)

    def where(self, path: str | Sequence[Key]) -> str:
        """The `file:line` (or override) of a value, or of the nearest thing above it that has one."""
        keys = self.keys(path) if isinstance(path, str) else tuple(path)
        known = next((keys[:end] for end in range(len(keys), -1, -1) if keys[:end] in self.places), None)
        return "" if known is None else str(self.places[known])

    def keys(self, path: str) -> tuple[Key, ...]:
        """A dotted path as keys, with the indices of lists as numbers."""
        found: tuple[Key, ...] = ()
        for part in parts(path):
            holder, number = self.at(found), index(part)
            counted = isinstance(holder, tuple) or (isinstance(holder, dict) and part not in holder)
            found = (*found, number if number is not None and counted else part)
        return found

    def at(self, path: Sequence[Key], default: Any = None) -> Any:
        """The value at a path, or `default`."""
        value: Any = self.data
        for key in path:
            held = key in value if isinstance(value, dict) else isinstance(value, tuple) and key in range(len(value))
            if not held:
                return default
            value = value[key]
        return value

    def overrides(self, path: Sequence[Key]) -> tuple[str, ...]:
        """The overrides that set something at `path` or below it."""
        section = tuple(path)
        places = [at for keys, at in self.places.items() if keys[: len(section)] == section and at.line is None]
        return tuple(dict.fromkeys(map(str, places)))

    def problem(self, path: Sequence[Key], message: str, within: Sequence[Key] | None = None) -> Problem:
        """A problem at `path`; the overrides at or below `within` are named too, as one of them may be to blame."""
        where = self.where(path)
        others = [] if within is None else [override for override in self.overrides(within) if override != where]
        return Problem(where, dotted(path), message + (f" (with {' and '.join(others)})" if others else ""))


def read(path: str | Path, overrides: Iterable[str] = (), earlier: Callable[[Path], bool] | None = None) -> Document:
    """Reads a pipeline file, the files that it includes, and overrides such as `model.backbone.width=0.5`.

    Args:
        path: the file.
        overrides: texts, put into their places one after another.
        earlier: whether a file may have been written by an earlier version: its keys are read where they are now.

    Raises:
        SpecError: a file is missing or is not YAML. Lesser faults are kept in `Document.problems`.
    """
    problems: list[Problem] = []
    files = _Files(problems, earlier or (lambda _: False))
    root = files.included(files.parsed(Path(path)), Path(path))
    for text in overrides:
        root = _overridden(root, text, problems)
    places = {keys: node.place for keys, node in root.walk()}
    return Document(root.plain, tuple(problems), places)


@dataclass(frozen=True)
class _Files:
    """Files of one reading."""

    problems: list[Problem]
    earlier: Callable[[Path], bool]

    def parsed(self, path: Path, named_at: Place | None = None) -> Node:
        """A file's tree, a map. `named_at` is the place of the `include` that names the file."""
        problems = self.problems
        text = _decoded(path, problems, named_at)
        folder = path.resolve().parent
        root = compose(text, lambda line: Place(str(path), line), folder, (), problems)
        if not isinstance(root.value, dict):
            shown = received(root.plain) if named_at is None else "something else"
            found = "the file is empty" if root.value is None else f"received {shown}"
            raise SpecError([*problems, Problem(str(root.place), "", f"expected a map of keys at the top; {found}")])
        return with_new_names(root) if self.earlier(path) else root

    def included(self, root: Node, path: Path) -> Node:
        """`root` laid over the files that its `include` names, later ones over earlier ones."""
        named, problems = root.value.get(INCLUDE), self.problems
        if named is None:
            return root
        own = replace(root, value={key: node for key, node in root.value.items() if key != INCLUDE})
        names = named.value if isinstance(named.value, tuple) else (named,)
        if not all(isinstance(node.value, str) for node in names):
            message = f"expected the path of a file, or a list of paths; received {received(named.plain)}"
            problems.append(Problem(str(named.place), INCLUDE, message))
            return own
        below = Node({}, root.place)
        for node in names:
            file = Path(os.path.normpath(path.parent / os.path.expanduser(node.value)))
            if file.suffix not in INCLUDABLE:
                message = f"expected files that end in {' or '.join(INCLUDABLE)}; received {received(node.value)}"
                problems.append(Problem(str(named.place), INCLUDE, message))
                continue
            below = merge(below, _leaf(self.parsed(file, node.place), path, problems))
        return merge(below, own)


def _decoded(path: Path, problems: list[Problem], named_at: Place | None) -> str:
    where, key, name = (str(path), "", "") if named_at is None else (str(named_at), INCLUDE, f' "{path}"')
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a pipe would be waited for, a device endless
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
        place = Place(str(path), content.count(b"\n", 0, error.start) + 1)
        message = f"not UTF-8 text: byte 0x{content[error.start]:02x} at position {error.start}; save it as UTF-8"
        raise SpecError([*problems, Problem(str(place), "", message)]) from error


def _neighbor(path: Path) -> str:
    """A hint at a file of nearly this name beside it."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, sorted(names), n=1)
    return f'; did you mean "{path.parent / near[0]}"?' if near else ""


def _leaf(root: Node, by: Path, problems: list[Problem]) -> Node:
    """An included file's tree, which must include nothing itself."""
    if INCLUDE in root.value:
        message = f"an included file may not include others; name them all in {by}"
        problems.append(Problem(str(root.value[INCLUDE].place), INCLUDE, message))
    return replace(root, value={key: node for key, node in root.value.items() if key != INCLUDE})


def _overridden(root: Node, text: str, problems: list[Problem]) -> Node:
    """`root` with one override put in its place; a faulty one is noted and left out."""
    place = Place("override " + _quoted(text))
    found = split_override(text)
    if found is None:
        message = "expected key=value with a dotted key, such as model.backbone.output_stride=8"
        problems.append(Problem(str(place), "", message))
        return root
    keys, value = found
    if len(keys) > DEPTH:
        problems.append(Problem(str(place), "", f"nested deeper than {DEPTH} levels"))
        return root
    if keys[0] == INCLUDE:
        problems.append(Problem(str(place), INCLUDE, "only a file can include; write it there"))
        return root
    try:
        new = compose(value, lambda line: place, Path.cwd(), keys, problems)
        return put(root, keys, new)
    except SpecError as error:
        message = error.problems[-1].message
        hint = "" if "quotes" in message else "; put a text in quotes"
        problems.append(Problem(str(place), dotted(keys), message + hint))
    except NoSuchPlace as error:
        problems.append(Problem(str(place), dotted(error.args[0]), error.args[1]))
    return root


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') + '"'
