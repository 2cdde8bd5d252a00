"""A document to a value of a spec type, or every mistake in it at once."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tfseg.spec.declare import Misfit
from tfseg.spec.paths import Key, dotted, index, parts
from tfseg.spec.problems import Problem, SpecError
from tfseg.spec.source import Document
from tfseg.spec.wording import Schema, Schemas, nearest, one_of, received, unknown

T = TypeVar("T")
Path = tuple[Key, ...]
Fault = tuple[Path, dict[str, Any]]
"""What pydantic found: where, seen from the schema at hand (a union's tags included), and what."""

_ANY: Schema = {"type": "any"}
_UNKNOWN = {"unexpected_keyword_argument", "extra_forbidden", "invalid_key"}


def adapter(type_: Any) -> TypeAdapter[Any]:
    """Pydantic's validator of a type; made once."""
    return _adapter(type_)


_adapter = lru_cache(maxsize=64)(TypeAdapter)


def validate(type_: type[T], document: Document) -> T:
    """The value that a document describes.

    Raises:
        SpecError: all mistakes of the document, in the order of its lines.
    """
    problems = list(document.problems)
    try:
        value: T = adapter(type_).validate_python(document.data)
    except ValidationError as error:
        unreadable = {problem.path for problem in problems}
        found = _Explainer(type_, document).problems(error)
        problems += [problem for problem in found if problem.path not in unreadable]
        raise SpecError(sorted(dict.fromkeys(problems), key=_in_order)) from error
    if problems:
        raise SpecError(sorted(problems, key=_in_order))
    return value


def _in_order(problem: Problem) -> tuple[bool, str, int]:
    """Files one after another, each by its lines; overrides last, as they were given."""
    source, _, line = problem.where.rpartition(":")
    number = index(line)
    return (True, "", 0) if number is None else (False, source, number)


class _Explainer:
    """Pydantic's errors as problems. It walks the schema along with the data, so that it can tell keys from tags."""

    def __init__(self, type_: Any, document: Document) -> None:
        self.document = document
        self.schemas = Schemas(dict(adapter(type_).core_schema))

    def problems(self, error: ValidationError) -> list[Problem]:
        faults = [(tuple(found["loc"]), dict(found)) for found in error.errors(include_url=False)]
        return list(self.explain(self.schemas.root, (), faults))

    def explain(self, schema: Schema, path: Path, faults: Sequence[Fault]) -> Iterator[Problem]:
        """The problems of the value at `path`, which `schema` did not take."""
        core = self.schemas.core(schema)
        if core["type"] == "union":
            yield from self.union(schema, path, faults)
            return
        for loc, found in faults:
            if not loc:
                yield from self.here(schema, path, found)
        for key, group in groupby((fault for fault in faults if fault[0]), key=lambda fault: fault[0][0]):
            yield from self.into(schema, path, key, [(loc[1:], found) for loc, found in group])

    def into(self, schema: Schema, path: Path, key: Key, faults: list[Fault]) -> Iterator[Problem]:
        """The problems behind `key`, the first step of their locations: a field, an index, a tag."""
        core = self.schemas.core(schema)
        if core["type"] == "tagged-union":
            yield from self.explain(core["choices"][key], path, faults)
        elif core["type"] in ("dataclass-args", "model-fields"):
            yield from self.field(self.schemas.fields(core), path, key, faults)
        elif core["type"] == "tuple" and (faults[0][0], faults[0][1]["type"]) == ((), "missing"):
            yield self.mismatch(schema, path)
        elif core["type"] in ("tuple", "list", "dict"):
            bad_key = core["type"] == "dict" and faults[0][0][:1] == ("[key]",)
            if bad_key:
                expected = self.schemas.expected(core["keys_schema"])
                yield self.problem((*path, key), f"expected {expected} as the key; received {received(key)}")
            below = [(loc, found) for loc, found in faults if loc[:1] != ("[key]",)]
            yield from self.explain(_item(core, key), (*path, key), below)
        else:  # below a validator of the spec's own
            for loc, found in faults:
                yield from self.here(_ANY, (*path, key, *loc), found)

    def field(self, fields: dict[str, Schema], path: Path, key: Key, faults: list[Fault]) -> Iterator[Problem]:
        kind = None if faults[0][0] else faults[0][1]["type"]
        if kind in _UNKNOWN:
            elsewhere = [place for place in self.schemas.places(key) if place != (*path, key)]
            message = unknown(key, fields, elsewhere)
            yield self.problem((*path, key), message, self.document.overrides((*path, "type")))
        elif kind == "missing":
            expected = self.schemas.expected(fields[str(key)]["schema"])
            message = "missing" + (f"; expected {expected}" if expected else "")
            yield self.problem((*path, key), message, self.document.overrides((*path, "type")))
        else:
            yield from self.explain(fields[str(key)]["schema"], (*path, key), faults)

    def union(self, schema: Schema, path: Path, faults: Sequence[Fault]) -> Iterator[Problem]:
        """The problems of the branch that the value was meant for, if that can be told; else all branches in one."""
        branches = [list(group) for _, group in groupby(faults, key=lambda fault: fault[0][:1])]
        choices = self.schemas.choices(self.schemas.core(schema))
        if len(branches) == len(choices):
            for choice, branch in zip(choices, branches, strict=True):
                below = [(loc[1:], found) for loc, found in branch]
                if not any(self.other_kind(choice, loc, found) for loc, found in below):
                    yield from self.explain(choice, path, below)
                    return
        yield self.mismatch(schema, path)

    def other_kind(self, choice: Schema, loc: Path, found: dict[str, Any]) -> bool:
        """Whether a branch of a union failed because the value is of another kind altogether."""
        bare = self.schemas.bare(choice)
        if bare["type"] == "literal":
            return not isinstance(found["input"], tuple(type(word) for word in bare["expected"]))
        return not loc and (found["type"].endswith("_type") or found["type"] == "is_instance_of")

    def here(self, schema: Schema, path: Path, found: dict[str, Any]) -> Iterator[Problem]:
        """The problems that one of pydantic's errors tells of, all at `path` unless the spec's own check says more."""
        error = found.get("ctx", {}).get("error")
        if isinstance(error, Misfit):
            for place, message in error.problems:
                keys = self.document.keys(dotted((*path, *parts(place))))
                yield self.problem(keys, message, self.document.overrides(path))
        elif isinstance(error, ValidationError):  # the spec's own validator used another spec
            for inner in error.errors(include_url=False):
                yield from self.here(_ANY, (*path, *inner["loc"]), dict(inner))
        elif error is not None:
            yield self.problem(path, str(error), self.document.overrides(path))
        elif self.schemas.core(schema)["type"] == "tagged-union":
            yield self.tag(self.schemas.core(schema)["choices"], path)
        elif self.schemas.expected(schema) is None:
            message = f"{found['msg'][:1].lower()}{found['msg'][1:]}; received {received(found['input'])}"
            yield self.problem(path, message)
        else:
            yield self.mismatch(schema, path)

    def tag(self, choices: Iterable[str], path: Path) -> Problem:
        """A slot whose `type` is unknown or missing."""
        value = self.document.at(path)
        if not isinstance(value, dict):
            message = f"expected {one_of(choices)}; received {received(value)}"
            return self.problem(path, message + nearest(value, choices))
        if "type" not in value:
            return self.problem((*path, "type"), f"missing; expected {one_of(choices)}")
        message = f"expected {one_of(choices)}; received {received(value['type'])}"
        return self.problem((*path, "type"), message + nearest(value["type"], choices))

    def mismatch(self, schema: Schema, path: Path) -> Problem:
        """A value that is not what `schema` wants."""
        value, core = self.document.at(path), self.schemas.core(schema)
        branches = [core, *map(self.schemas.bare, self.schemas.choices(core))]
        words = [word for branch in branches for word in branch.get("expected", ())]
        near = nearest(value, words) if isinstance(value, str) else ""
        return self.problem(path, f"expected {self.schemas.expected(schema)}; received {received(value)}{near}")

    def problem(self, path: Path, message: str, overrides: Iterable[str] = ()) -> Problem:
        """A problem at `path`, for which `overrides` elsewhere may be to blame."""
        where = self.document.where(path)
        others = [override for override in overrides if override != where]
        return Problem(where, dotted(path), message + (f" (with {' and '.join(others)})" if others else ""))


def _item(core: Schema, key: Key) -> Schema:
    """The schema of a list's item or of a map's value."""
    items = core.get("values_schema", _ANY) if core["type"] == "dict" else core.get("items_schema", _ANY)
    return items[min(int(key), len(items) - 1)] if isinstance(items, list) else items
