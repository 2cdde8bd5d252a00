"""Renamed keys and choices. They are errors in a user's file, and are converted in the file of an earlier run.

To rename a key or a choice, add a row to `KEYS` or `CHOICES`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tfseg.spec.nodes import Node, put
from tfseg.spec.paths import Key, dotted, parts

ALWAYS = object()
"""Default of a key whose value is always kept."""
ANY = "*"
"""Path element that matches any index of a list."""


@dataclass(frozen=True)
class RenamedKey:
    """Renamed key.

    Args:
        old: Dotted path of the key; `*` matches any index.
        new: Dotted path of the key that replaces it, with the same number of `*`.
        types: Values of `type` of the components that had the key (of `layer`, for a node of a graph), with None for a
            component without a `type`; empty: any.
        default: Default of the new key. An equal value is omitted.
        advice: Dotted path to recommend for new files instead of `new`.
    """

    old: str
    new: str
    types: tuple[str | None, ...] = ()
    default: Any = ALWAYS
    advice: str = ""

    def at(self, path: Sequence[Key], kind: Any) -> bool:
        """Returns whether this is the key at `path` in a component whose `type` is `kind`."""
        return _matches(parts(self.old), path) and (not self.types or kind in self.types)

    def message(self, path: Sequence[Key]) -> str:
        """Returns the message for the key at `path` of a user's file."""
        new = dotted(self.target(path))
        if self.advice:
            return f"moved to {self.advice}; for this part only, {new}"
        in_place = parts(self.new)[:-1] == parts(self.old)[:-1]
        return f"renamed to {parts(self.new)[-1]}" if in_place else f"moved to {new}"

    def target(self, path: Sequence[Key]) -> tuple[Key, ...]:
        """Returns the new path of the key at `path`."""
        indices = [key for key, pattern in zip(path, parts(self.old), strict=True) if pattern == ANY]
        return tuple(indices.pop(0) if key == ANY else key for key in parts(self.new))


@dataclass(frozen=True)
class RenamedChoice:
    """Renamed choice of a slot.

    Args:
        slot: Dotted path of the slot; `*` matches any index.
        old: Old `type`.
        new: New `type`.
    """

    slot: str
    old: str
    new: str


def _norm(key: str, part: str, default: float, *types: str) -> RenamedKey:
    return RenamedKey(f"model.{part}.{key}", f"model.norm.{key}.{part}", types, default, f"model.norm.{key}")


def _within(section: str, old: str, new: str, *types: str | None) -> RenamedKey:
    return RenamedKey(f"{section}.{old}", f"{section}.{new}", types)


OF_BATCH_NORM = ("applications", "contracting_path", "mobilenet_v2", "resnet", "small_cnn", "vgg16")
KEYS = (
    _norm("momentum", "backbone", 0.9, *OF_BATCH_NORM),
    _norm("momentum", "decoder", 0.9, "deeplab_v3", "deeplab_v3_plus"),
    _norm("epsilon", "backbone", 1e-3, "vgg16"),
    _norm("epsilon", "backbone", 1e-5, "resnet"),
    _norm("epsilon", "decoder", 1e-5, "deeplab_v3", "deeplab_v3_plus"),
    _within("labels", "colours", "colors"),
    _within("data.boxes", "smallest", "min_pixels", "objects", "proposals"),
    _within("model.backbone", "width", "width_multiplier", "alexnet", "googlenet", "resnet", "vgg16"),
    _within("model.backbone", "width", "filters", "contracting_path", "small_cnn"),
    _within("model.backbone", "alpha", "width_multiplier", "mobilenet_v2"),
    _within("model.backbone.fc", "kernel", "kernel_size", "vgg16"),
    _within("model.backbone.fc", "rate", "dilation_rate", "vgg16"),
    _within("model.decoder", "channels", "filters", "deeplab_v1", "deeplab_v3", "deeplab_v3_plus", "fcn", "unet"),
    _within("model.decoder", "low_level_channels", "low_level_filters", "deeplab_v3_plus"),
    _within("model.decoder", "hidden", "filters", "deeplab_v2"),
    _within("model.decoder", "dilations", "dilation_rates", "dilation"),
    _within("model.layers.*", "classes", "num_classes", "dilated_context", "parallel_atrous_classifier"),
    _within("model.layers.*", "dilations", "dilation_rates", "dilated_context"),
    _within("model.layers.*", "hidden", "filters", "parallel_atrous_classifier"),
    _within("training", "accumulate", "gradient_accumulation_steps"),
    _within("training", "validate_every", "validation_freq"),
    _within("training.optimizer", "multipliers", "lr_multipliers", "sgd", "adamw", None),
    _within("training.optimizer", "undecayed", "no_weight_decay", "sgd", "adamw", None),
    _within("inference.ensemble", "rule", "merge"),
)
"""All renamed keys, in the order in which they are converted."""
CHOICES = (
    RenamedChoice("data.source.mask", "colours", "colors"),
    RenamedChoice("data.augment.*", "colour", "color_jitter"),
)
"""All renamed choices."""


def renamed_key(path: Sequence[Key], data: Any) -> str | None:
    """Returns the message for the key at `path` of the file content `data`; None if it was not renamed."""
    return next((each.message(path) for each in KEYS if each.at(path, _kind(data, path))), None)


def former_choice(field: str, word: str) -> str | None:
    """Returns the new name of `word` if it was a choice of the slots named `field`; None otherwise."""
    slots = ((each, [key for key in parts(each.slot) if key != ANY][-1]) for each in CHOICES)
    return next((each.new for each, name in slots if (name, each.old) == (field, word)), None)


def renamed_choice(path: Sequence[Key], word: Any) -> str | None:
    """Returns the new name of the choice `word` of the slot at `path`; None if it was not renamed."""
    return next((each.new for each in CHOICES if each.old == word and _matches(parts(each.slot), path)), None)


def with_new_names(root: Node) -> Node:
    """Returns the tree of a file of an earlier version with the current keys and choices."""
    for each in KEYS:
        *above, _ = parts(each.old)
        for path, holder in list(_found(root, above)):
            root = _with_new_key(root, each, (*path, parts(each.old)[-1]), holder)
    for choice in CHOICES:
        for path, node in list(_found(root, parts(choice.slot))):
            kind = node.value.get("type") if isinstance(node.value, dict) else node
            if kind is not None and kind.plain == choice.old:
                keys = (*path, "type") if kind is not node else path
                root = put(root, tuple(map(str, keys)), replace(kind, value=choice.new))
    return root


def _with_new_key(root: Node, renamed: RenamedKey, path: tuple[Key, ...], holder: Node) -> Node:
    """Returns `root` with the value at `path` moved to its new path, if the key exists and was renamed."""
    key = path[-1]
    if not isinstance(holder.value, dict) or key not in holder.value or not renamed.at(path, _kind(root.plain, path)):
        return root
    value = holder.value[key]
    target = tuple(map(str, renamed.target(path)))
    root = _without(root, path)
    return put(root, target, value) if value.plain != renamed.default and _is_free(root, target) else root


def _kind(data: Any, path: Sequence[Key]) -> Any:
    """Returns the `type` of the component with the key at `path`, or the `layer` of the node of a graph.

    The component is the innermost mapping around the key that has a `type`; for `fc.kernel` that is the backbone.
    """
    kind = None
    for key in path:
        if isinstance(data, dict):
            kind = data.get("type") or data.get("layer") or kind
            data = data.get(key)
        else:
            data = data[key] if isinstance(data, tuple) and isinstance(key, int) and key < len(data) else None
    return kind


def _matches(pattern: Sequence[str], path: Sequence[Key]) -> bool:
    return len(pattern) == len(path) and all(
        key == part or (part == ANY and isinstance(key, int)) for part, key in zip(pattern, path, strict=True)
    )


def _found(node: Node, pattern: Sequence[str], path: tuple[Key, ...] = ()) -> Iterator[tuple[tuple[Key, ...], Node]]:
    """Yields the nodes whose paths match, each with its path."""
    if not pattern:
        yield path, node
    elif isinstance(node.value, dict | tuple):
        for key, child in node.value.items() if isinstance(node.value, dict) else enumerate(node.value):
            if _matches(pattern[:1], (key,)):
                yield from _found(child, pattern[1:], (*path, key))


def _is_free(node: Node, path: Sequence[str]) -> bool:
    """Returns whether no value is set at the path or above it. An existing value takes precedence."""
    for key in path:
        if node.value is None:
            return True
        if isinstance(node.value, tuple):
            node = node.value[int(key)]
            continue
        if not isinstance(node.value, dict):
            return False
        if key not in node.value:
            return True
        node = node.value[key]
    return node.value is None


def _without(node: Node, path: Sequence[Key]) -> Node:
    """Returns `node` without the key at `path`."""
    key, *below = path
    if isinstance(node.value, tuple):
        return replace(node, value=tuple(_without(c, below) if i == key else c for i, c in enumerate(node.value)))
    if below:
        return replace(node, value={**node.value, key: _without(node.value[key], below)})
    return replace(node, value={name: each for name, each in node.value.items() if name != key})
