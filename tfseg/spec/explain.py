"""Conversion of pydantic's errors to problems of a pipeline file, with key, expected and received value."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from pydantic_core import ErrorDetails

from tfseg.spec.habits import KEYS
from tfseg.spec.messages import Schema, Schemas, nearest, one_of, received, unknown
from tfseg.spec.paths import Key, dotted
from tfseg.spec.problems import InvalidFields, Problem
from tfseg.spec.renamed import renamed_choice, renamed_key
from tfseg.spec.source import Document

Path = tuple[Key, ...]
Finding = tuple[Path, dict[str, Any]]
"""Pydantic's error: its location relative to the current schema (including the tags of unions) and its details."""

_ANY: Schema = {"type": "any"}
_UNKNOWN = {"unexpected_keyword_argument", "extra_forbidden", "invalid_key"}


class Explainer:
    """Converts pydantic's errors to problems. Walks the schema along with the data to distinguish keys from tags."""

    def __init__(self, schema: Schema, document: Document) -> None:
        self.schemas = Schemas(schema)
        self.document = document

    def problems(self, errors: Iterable[ErrorDetails]) -> list[Problem]:
        """Returns the problems for a list of pydantic's errors."""
        return list(self.explain(self.schemas.root, (), [(found["loc"], dict(found)) for found in errors]))

    def explain(self, schema: Schema, path: Path, findings: Sequence[Finding]) -> Iterator[Problem]:
        """Yields the problems of the value at `path`, which `schema` rejected."""
        core = self.schemas.core(schema)
        if core["type"] == "union":
            yield from self.union(schema, path, findings)
            return
        for loc, found in findings:
            if not loc and not _echo(core, found):
                yield from self.here(schema, path, found)
        for key, group in groupby((finding for finding in findings if finding[0]), key=lambda finding: finding[0][0]):
            yield from self.into(schema, path, key, [(loc[1:], found) for loc, found in group])

    def into(self, schema: Schema, path: Path, key: Key, findings: list[Finding]) -> Iterator[Problem]:
        """Yields the problems below `key`: a field, an index or a tag, relative to which `findings` are located."""
        core = self.schemas.core(schema)
        if core["type"] == "tagged-union":
            yield from self.explain(core["choices"][key], path, findings)
        elif core["type"] in ("dataclass-args", "model-fields"):
            yield from self.field(self.schemas.fields(core), path, key, findings)
        elif core["type"] == "tuple" and (findings[0][0], findings[0][1]["type"]) == ((), "missing"):
            yield self.mismatch(schema, path, findings[0][1]["input"])
        elif core["type"] in ("tuple", "list", "dict"):
            if core["type"] == "dict" and findings[0][0][:1] == ("[key]",):
                error = findings[0][1].get("ctx", {}).get("error")  # of a custom validator of the spec
                expected = self.schemas.expected(core["keys_schema"])
                message = str(error or f"expected {expected} as the key; received {received(key)}")
                yield self.document.problem((*path, key), message)
            below = [(loc, found) for loc, found in findings if loc[:1] != ("[key]",)]
            yield from self.explain(_item(core, key), (*path, key), below)
        else:  # below a custom validator of the spec
            for loc, found in findings:
                yield from self.here(_ANY, (*path, key, *loc), found)

    def field(self, fields: dict[str, Schema], path: Path, key: Key, findings: list[Finding]) -> Iterator[Problem]:
        kind = None if findings[0][0] else findings[0][1]["type"]
        if kind in _UNKNOWN:
            yield self.document.problem((*path, key), self.unknown(fields, path, key), within=(*path, "type"))
        elif kind == "missing":
            expected = self.schemas.expected(fields[str(key)]["schema"])
            message = "missing" + (f"; expected {expected}" if expected else "")
            yield self.document.problem((*path, key), message, within=(*path, "type"))
        else:
            yield from self.explain(fields[str(key)]["schema"], (*path, key), findings)

    def unknown(self, fields: dict[str, Schema], path: Path, key: Key) -> str:
        """Returns the message for an unknown key."""
        value = self.document.at((*path, key))
        if (message := renamed_key((*path, key), self.document.data)) is not None:
            return f"{message}. Received: {received(value)}"
        elsewhere = [other for other in self.schemas.paths_of(KEYS.get(str(key), key)) if other != (*path, key)]
        return unknown(key, fields, elsewhere) + self.choice(value)

    def union(self, schema: Schema, path: Path, findings: Sequence[Finding]) -> Iterator[Problem]:
        """Yields the problems of the branch of the value's kind; if there is none, one problem for all branches."""
        branches = [list(group) for _, group in groupby(findings, key=lambda finding: finding[0][:1])]
        choices = self.schemas.choices(self.schemas.core(schema))
        if len(branches) == len(choices):
            for choice, branch in zip(choices, branches, strict=True):
                below = [(loc[1:], found) for loc, found in branch]
                if not any(self.other_kind(choice, loc, found) for loc, found in below):
                    yield from self.explain(choice, path, below)
                    return
        yield self.mismatch(schema, path, self.document.at(path))

    def other_kind(self, choice: Schema, loc: Path, found: dict[str, Any]) -> bool:
        """Returns whether a branch of a union failed because the value is of another kind. True for every literal, so
        that the message lists the other branches too."""
        if self.schemas.bare(choice)["type"] == "literal":
            return True
        return not loc and (found["type"].endswith("_type") or found["type"] == "is_instance_of")

    def here(self, schema: Schema, path: Path, found: dict[str, Any]) -> Iterator[Problem]:
        """Yields the problems of one pydantic error, at `path` unless a check of the spec gives other paths."""
        error = found.get("ctx", {}).get("error")
        if isinstance(error, InvalidFields):
            for field_path, message in error.problems:
                keys = self.document.keys(dotted((*path, *field_path)))
                yield self.document.problem(keys, message, within=path)
        elif error is not None:
            yield self.document.problem(path, str(error), within=path)
        elif self.schemas.core(schema)["type"] == "tagged-union":
            yield self.tag(self.schemas.core(schema)["choices"], path, self.document.at(path, found["input"]))
        elif self.schemas.expected(schema) is None:
            message = f"{found['msg'][:1].lower()}{found['msg'][1:]}; received {received(found['input'])}"
            yield self.document.problem(path, message)
        else:
            yield self.mismatch(schema, path, found["input"])

    def tag(self, choices: Iterable[str], path: Path, value: Any) -> Problem:
        """Returns the problem of a slot whose `type` is unknown or missing."""
        if not isinstance(value, dict):
            message = f"expected {one_of(choices)}; received {received(value)}"
            return self.document.problem(path, message + self.near(path, value, choices))
        if "type" not in value:
            return self.document.problem((*path, "type"), f"missing; expected {one_of(choices)}")
        kind = value["type"]
        message = f"expected {one_of(choices)}; received {received(kind)}{self.near(path, kind, choices)}"
        return self.document.problem((*path, "type"), message)

    def near(self, path: Path, word: Any, choices: Iterable[str]) -> str:
        """Returns a suggestion for an unknown choice of the slot at `path`, to be appended to a message."""
        if (new := renamed_choice(path, word)) is not None:
            return f"; it was renamed to {received(new)}"
        return self.choice(word) or nearest(word, choices)

    def choice(self, word: Any) -> str:
        """Returns `; "unet" is a choice of model.decoder` if a slot has a choice of that name, else an empty string."""
        slot = self.schemas.choice_of(word) if isinstance(word, str) else None
        return f"; {received(word)} is a choice of {dotted(slot)}" if slot else ""

    def mismatch(self, schema: Schema, path: Path, value: Any) -> Problem:
        """Returns the problem of a value that does not match `schema`."""
        core = self.schemas.core(schema)
        branches = [core, *map(self.schemas.bare, self.schemas.choices(core))]
        words = [word for branch in branches for word in branch.get("expected", ())]
        near = nearest(value, words) if isinstance(value, str) else ""
        message = f"expected {self.schemas.expected(schema)}; received {received(value)}{near}"
        return self.document.problem(path, message)


def _echo(core: Schema, found: dict[str, Any]) -> bool:
    """Returns whether a list is reported as too short only because pydantic did not count its invalid items."""
    return found["type"] == "too_short" and len(found["input"]) >= core.get("min_length", 0)


def _item(core: Schema, key: Key) -> Schema:
    """Returns the schema of an item of a list or of a value of a mapping."""
    items = core.get("values_schema", _ANY) if core["type"] == "dict" else core.get("items_schema", _ANY)
    return items[min(int(key), len(items) - 1)] if isinstance(items, list) else items
