"""Tree of a pipeline file, in which every value has its file and line. Trees are immutable."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tfseg.spec.paths import Key, dotted, index


class Text(str):
    """String from a file, with the folder to which relative paths in it refer."""

    folder: Path


class Origin(NamedTuple):
    """Origin of a value: a line of a file, or an override (without a line)."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Node:
    """Value and its origin. Mappings hold nodes by key; lists are tuples of nodes."""

    value: Any
    origin: Origin

    @property
    def plain(self) -> Any:
        """The value without origins."""
        if isinstance(self.value, dict):
            return {key: node.plain for key, node in self.value.items()}
        return tuple(node.plain for node in self.value) if isinstance(self.value, tuple) else self.value

    def walk(self, path: tuple[Key, ...] = ()) -> Iterator[tuple[tuple[Key, ...], "Node"]]:
        """Yields this node and all nodes below it, each with its path."""
        yield path, self
        if isinstance(self.value, dict | tuple):
            for key, node in self.value.items() if isinstance(self.value, dict) else enumerate(self.value):
                yield from node.walk((*path, key))


def expanded(node: Node) -> Node:
    """Expands the string `fcn` to the mapping `{type: fcn}`; returns other nodes unchanged."""
    return replace(node, value={"type": node}) if isinstance(node.value, str) else node


def merge(below: Node, above: Node) -> Node:
    """Merges `above` into `below`: mappings merge deeply; other values and mappings of another `type` are replaced."""
    base = expanded(below)
    if not isinstance(above.value, dict) or not isinstance(base.value, dict) or _types_differ(base, above):
        return above
    merged = {key: merge(base.value[key], node) if key in base.value else node for key, node in above.value.items()}
    return replace(above, value={**base.value, **merged})


def _types_differ(below: Node, above: Node) -> bool:
    return all("type" in node.value for node in (below, above)) and (
        below.value["type"].plain != above.value["type"].plain
    )


class NoSuchPath(LookupError):
    """Path that does not exist. Its arguments are the path up to the problem and a message."""


def put(node: Node, keys: Sequence[str], new: Node, path: tuple[Key, ...] = ()) -> Node:
    """Returns `node` with `new` at `keys`. Strings on the path are expanded; absent and null values become mappings."""
    if not keys:
        return new
    if node.value is None:
        node = Node({}, new.origin)
    elif isinstance(node.value, str):
        node = Node(expanded(node).value, new.origin)
    if isinstance(node.value, tuple):
        return _put_item(node, keys, new, path)
    if not isinstance(node.value, dict):
        raise NoSuchPath(path, f"has no keys; it is {_scalar(node.value)}")
    key = _own_key(node.value, keys[0])
    child = node.value.get(key, Node(None, new.origin))
    return replace(node, value={**node.value, key: put(child, keys[1:], new, (*path, key))})


def _put_item(node: Node, keys: Sequence[str], new: Node, path: tuple[Key, ...]) -> Node:
    items, item = node.value, index(keys[0])
    if item is None or item not in range(len(items)):
        known = f"the list has the items 0 to {len(items) - 1}" if items else "the list is empty"
        raise NoSuchPath((*path, keys[0]), f"no such item; {known}; {dotted(path)}=[…] replaces it")
    return replace(node, value=(*items[:item], put(items[item], keys[1:], new, (*path, item)), *items[item + 1 :]))


def _own_key(value: dict[Key, Node], text: str) -> Key:
    """Returns `text`, or its integer value if the mapping has integer keys."""
    number = index(text)
    return text if number is None or text in value or not any(isinstance(key, int) for key in value) else number


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"the number {value}"
