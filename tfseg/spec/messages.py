"""Descriptions of expected and received values, from pydantic's core schemas and from plain values."""

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfseg.spec import habits
from tfseg.spec.nesting import INNER, OUTER, Inner
from tfseg.spec.paths import Key, dotted

Schema = dict[str, Any]

_WRAPPERS = {
    *("default", "function-before", "function-after", "function-wrap", "definitions", "custom-error"),
    *("dataclass", "model"),
}
_LIMITS = {"ge": "of at least {}", "gt": "greater than {}", "le": "of at most {}", "lt": "less than {}"}
_KINDS = {"int": "an integer", "float": "a number", "str": "a string", "bool": "true or false", "none": "null"}
_ITEMS = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}


class Schemas:
    """A core schema of pydantic, read with its references resolved and its wrappers removed."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.definitions = {schema["ref"]: schema for schema in root.get("definitions", ())}
        self.slots: dict[str, Schema] = {}

    def bare(self, schema: Schema) -> Schema:
        """Returns `schema` without wrappers and references: an `int`, `tuple`, `dataclass-args`, `union`, … schema."""
        while True:
            nesting: dict[str, Any] = schema.get("metadata") or {}
            if OUTER in nesting:
                self.slots[nesting[OUTER].name] = schema
            if INNER in nesting:
                schema = self._slot(nesting[INNER])
            elif schema["type"] == "definition-ref":
                schema = self.definitions[schema["schema_ref"]]
            elif schema["type"] in _WRAPPERS:
                schema = schema["schema"]
            elif schema["type"] in ("lax-or-strict", "json-or-python"):
                schema = schema.get("strict_schema") or schema["python_schema"]
            else:
                return schema

    def _slot(self, inner: Inner) -> Schema:
        """Returns the schema of the slot around a value: one that was read before, or the slot without plugins."""
        if inner.name not in self.slots and inner.alone is not None:
            alone: Schema = dict(inner.alone.adapter.core_schema)
            self.slots[inner.name] = alone
            self.definitions |= {schema["ref"]: schema for schema in alone.get("definitions", ())}
        return self.slots.get(inner.name, {"type": "any"})

    def core(self, schema: Schema) -> Schema:
        """Returns the same as `bare`, also without `or null`."""
        bare = self.bare(schema)
        return self.core(bare["schema"]) if bare["type"] == "nullable" else bare

    def fields(self, schema: Schema) -> dict[str, Schema]:
        """Returns the fields of a `dataclass-args` or `model-fields` schema."""
        fields = schema["fields"]
        if isinstance(fields, dict):
            return fields
        return {field.get("validation_alias", field["name"]): field for field in fields}

    def choices(self, schema: Schema) -> list[Schema]:
        """Returns the schemas of a union; an empty list for any other schema."""
        if schema["type"] not in ("union", "tagged-union"):
            return []
        choices = schema["choices"].values() if isinstance(schema["choices"], dict) else schema["choices"]
        return [choice[0] if isinstance(choice, tuple) else choice for choice in choices]

    def expected(self, schema: Schema) -> str | None:
        """Returns a description of valid values, such as `an integer of at least 1`; None if there is none."""
        schema = self.bare(schema)
        kind = schema["type"]
        if kind in _KINDS:
            return _KINDS[kind] + limits(schema)
        if kind == "nullable":
            return self._either([schema["schema"], {"type": "none"}])
        if kind == "union":
            return self._either(self.choices(schema))
        if kind in ("literal", "tagged-union"):
            return one_of(schema["expected"] if kind == "literal" else schema["choices"])
        if kind in ("tuple", "list"):
            return self._list(schema)
        if kind == "is-instance":
            return "a path" if schema["cls"] is Path else None
        if kind in ("dataclass-args", "model-fields"):
            return f"a mapping with keys among {listed(self.fields(schema))}"
        return "a mapping" if kind == "dict" else None

    def _either(self, choices: list[Schema]) -> str | None:
        words = [self.expected(choice) for choice in choices]
        return None if None in words else " or ".join(map(str, words))

    def _list(self, schema: Schema) -> str:
        items = schema.get("items_schema", {"type": "any"})
        items = items if isinstance(items, list) else [items]
        kinds = {self.bare(item)["type"] for item in items}
        item = _ITEMS.get(kinds.pop(), "item") if len(kinds) == 1 else "item"
        if schema["type"] == "tuple" and "variadic_item_index" not in schema:
            return f"a list of {count(len(items), item)}"
        least, most = schema.get("min_length"), schema.get("max_length")
        if most:
            return f"a list of {f'{least} to ' if least else 'at most '}{count(most, item)}"
        return f"a list of at least {count(least, item)}" if least else f"a list of {item}s"

    def choice_of(self, word: Any, schema: Schema | None = None, path: tuple[Key, ...] = ()) -> tuple[Key, ...] | None:
        """Returns the path of the first slot that has a choice of that name."""
        core = self.core(self.root if schema is None else schema)
        if core["type"] == "tagged-union" and word in core["choices"]:
            return path
        below = [((*path, name), field["schema"]) for name, field in self._named(core)]
        below += [(path, choice) for choice in self.choices(core)]
        return next((found for where, each in below if (found := self.choice_of(word, each, where)) is not None), None)

    def _named(self, core: Schema) -> Iterable[tuple[str, Schema]]:
        return self.fields(core).items() if core["type"] in ("dataclass-args", "model-fields") else ()

    def paths_of(self, key: Key, schema: Schema | None = None, path: tuple[Key, ...] = ()) -> Iterator[tuple[Key, ...]]:
        """Yields the paths of all fields of that name, in any spec."""
        core = self.core(self.root if schema is None else schema)
        for name, field in self._named(core):
            yield from [(*path, name)] if name == key else self.paths_of(key, field["schema"], (*path, name))
        for choice in self.choices(core):
            yield from self.paths_of(key, choice, path)


def limits(schema: Schema) -> str:
    """Returns the bounds of a number or a string: ` of at least 1`."""
    bounds = {key: schema[key] for key in _LIMITS if schema.get(key) is not None}
    if {"ge", "le"} <= bounds.keys():
        found = [f"from {bounds['ge']} to {bounds['le']}"]
    else:
        found = [_LIMITS[key].format(bound) for key, bound in bounds.items()]
    found += [f"a multiple of {schema['multiple_of']}"] if "multiple_of" in schema else []
    found += [f"of at least {count(schema['min_length'], 'character')}"] if schema.get("min_length") else []
    found += [f"matching {schema['pattern']}"] if schema.get("pattern") else []
    return " " + " and ".join(found) if found else ""


def received(value: Any) -> str:
    """Returns a short description of a value, on one line."""
    if isinstance(value, dict):
        return f"a mapping with the keys {listed(value)}" if value else "an empty mapping"
    if isinstance(value, tuple | list):
        return f"a list of {count(len(value), 'item')}" if value else "an empty list"
    if isinstance(value, str):
        return json.dumps(value if len(value) <= 60 else f"{value[:60]}…", ensure_ascii=False)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    finite = not isinstance(value, float) or math.isfinite(value)
    return repr(value) if finite else f"{value}, which is not finite"


def nearest(word: Any, known: Iterable[Any]) -> str:
    """Returns `; did you mean "fcn"?` if a known name is similar, else an empty string."""
    names = {str(name).lower().replace("-", "_"): str(name) for name in known}
    near = difflib.get_close_matches(str(word).lower().replace("-", "_"), names, n=1)
    return f'; did you mean "{names[near[0]]}"?' if near else ""


def unknown(key: Any, known: Iterable[Any], elsewhere: Iterable[Sequence[Key]] = ()) -> str:
    """Returns the message for an unknown key; `elsewhere` has the paths at which the key, or its name in tfseg, is
    valid."""
    known, paths, ours = list(known), sorted(set(map(dotted, elsewhere))), habits.KEYS.get(key, key)
    near = nearest(ours, known)
    if not near and paths:
        near = f"; {'it belongs' if ours == key else f'{ours} is'} at {' or '.join(paths)}"
    return f"unknown key{near}{'' if near.endswith('?') else '.'} Known keys: {listed(known)}"


def one_of(values: Iterable[Any]) -> str:
    """Returns `"a"`, or `one of "a", "b"`."""
    words = [received(value) for value in values]
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"


def listed(names: Iterable[Any]) -> str:
    """Returns `a, b, c`."""
    return ", ".join(map(str, names))


def count(number: int, noun: str) -> str:
    """Returns `1 item`, `2 items`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
