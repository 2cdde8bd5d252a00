"""Keys that have another place now: a user's file is told which, and what an earlier version wrote is read as it was.

A row of `RENAMED` is all that a renaming needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tfseg.spec.nodes import Node, put
from tfseg.spec.paths import Key, dotted, parts

ALWAYS = object()
"""The default of what is said at its new place whatever its value is."""


@dataclass(frozen=True)
class Renamed:
    """A key and its new place.

    Args:
        old: the dotted path that it had.
        new: the dotted path that means the same.
        types: the `type` of the maps that had it; none: any.
        default: the value that the new place means by itself, so that it need not be said.
        advice: what to write in a new file, where that is simpler than `new`.
    """

    old: str
    new: str
    types: tuple[str, ...] = ()
    default: Any = ALWAYS
    advice: str = ""

    def __str__(self) -> str:
        return f"moved to {self.advice}; for this part alone, {self.new}" if self.advice else f"moved to {self.new}"

    def at(self, path: Sequence[Key], type_: Any) -> bool:
        """Whether it is the key at `path`, in a map of that `type`."""
        return dotted(path) == self.old and (not self.types or type_ in self.types)


def _norm(key: str, part: str, default: float, *types: str) -> Renamed:
    return Renamed(f"model.{part}.{key}", f"model.norm.{key}.{part}", types, default, f"model.norm.{key}")


OF_BATCH_NORM = ("applications", "contracting_path", "mobilenet_v2", "resnet", "small_cnn", "vgg16")
RENAMED = (
    _norm("momentum", "backbone", 0.9, *OF_BATCH_NORM),
    _norm("momentum", "decoder", 0.9, "deeplab_v3", "deeplab_v3_plus"),
    _norm("epsilon", "backbone", 1e-3, "vgg16"),
    _norm("epsilon", "backbone", 1e-5, "resnet"),
    _norm("epsilon", "decoder", 1e-5, "deeplab_v3", "deeplab_v3_plus"),
)
"""All of them, in the order in which they moved."""


def renamed_key(path: Sequence[Key], type_: Any) -> Renamed | None:
    """Where the key at `path`, in a map of that `type`, is now."""
    return next((each for each in RENAMED if each.at(path, type_)), None)


def with_new_keys(root: Node) -> Node:
    """The tree of a file that an earlier version wrote, its keys where they are now."""
    for each in RENAMED:
        *above, key = parts(each.old)
        holder = _at(root, above)
        if holder is None or key not in holder or not each.at((*above, key), _plain(holder.get("type"))):
            continue
        value = holder[key]
        root = _without(root, (*above, key))
        if value.plain != each.default and _is_free(root, parts(each.new)):
            root = put(root, parts(each.new), value)
    return root


def _is_free(node: Node, path: Sequence[str]) -> bool:
    """Whether nothing stands at the path or above it: what the new place says already counts."""
    for key in path:
        if node.value is None:
            return True
        if not isinstance(node.value, dict):
            return False
        if key not in node.value:
            return True
        node = node.value[key]
    return node.value is None


def _at(node: Node, path: Sequence[str]) -> dict[Key, Node] | None:
    """The map at a path."""
    for key in path:
        if not isinstance(node.value, dict) or key not in node.value:
            return None
        node = node.value[key]
    return node.value if isinstance(node.value, dict) else None


def _plain(node: Node | None) -> Any:
    return None if node is None else node.plain


def _without(node: Node, path: Sequence[str]) -> Node:
    key, *below = path
    kept = {name: each for name, each in node.value.items() if name != key}
    return replace(node, value={**node.value, key: _without(node.value[key], below)} if below else kept)
