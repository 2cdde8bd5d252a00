"""A user's own components: the slots of a spec type widened by specs from other packages."""

import dataclasses
import functools
import importlib
import operator
import types
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import Field

from tfseg.spec.declare import ByType, members, spec, type_name
from tfseg.spec.problems import Problem, SpecError
from tfseg.spec.source import Document
from tfseg.spec.wording import listed, nearest

GROUP = "tfseg.components"
KEY = "plugins"

Components = dict[str, tuple[type, ...]]
"""Specs by the slot that they go into, such as `{"decoder": (MyDecoder,)}`."""


def plugged(type_: Any, document: Document, *, allow_plugins: bool = False) -> Any:
    """`type_` widened by installed packages and by the modules that the document's `plugins` names.

    Raises:
        SpecError: the file names plugins and `allow_plugins` is false, or a plugin cannot be used.
    """
    named = document.data.get(KEY)
    modules = [name for name in named if isinstance(name, str)] if isinstance(named, tuple) else []
    try:
        if modules and not allow_plugins:
            raise _unfit(f"the file runs the code of {listed(modules)}; allow it with --allow-plugins")
        return widen(type_, joined(installed(), *map(components, modules)))
    except SpecError as error:
        where = document.where((KEY,)) if modules else ""
        raise SpecError(dataclasses.replace(problem, where=where) for problem in error.problems) from error


def components(module: str) -> Components:
    """The `COMPONENTS = {slot: [Spec, …]}` of a module, which is imported.

    Raises:
        SpecError: there is no such module, it fails when imported, or it has no such table.
    """
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise _unfit(f'cannot import "{module}": {type(error).__name__}: {error}') from error
    return _checked(getattr(found, "COMPONENTS", None), f'the module "{module}"')


def installed() -> Components:
    """The components of installed packages, by their entry points of the group `tfseg.components`.

    Raises:
        SpecError: an entry point cannot be loaded, or is not a table of components.
    """
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            table = entry.load()
        except Exception as error:
            message = f'cannot load the entry point "{entry.name} = {entry.value}": {type(error).__name__}: {error}'
            raise _unfit(message) from error
        found.append(_checked(table, f'the entry point "{entry.name}"'))
    return joined(*found)


def joined(*tables: Components) -> Components:
    """Several tables as one."""
    slots = dict.fromkeys(slot for table in tables for slot in table)
    return {slot: tuple(dict.fromkeys(member for table in tables for member in table.get(slot, ()))) for slot in slots}


def widen(type_: Any, components: Mapping[str, Iterable[type]]) -> Any:
    """The spec `type_` with each named slot, wherever it lies in it, open to more specs; a subclass of `type_`.

    Args:
        type_: a spec.
        components: the specs to add, by the name of the field that is the slot.

    Raises:
        SpecError: there is no such slot, or two specs of a slot have the same `type`.
    """
    wanted = tuple((slot, tuple(found)) for slot, found in components.items() if tuple(found))
    if not wanted:
        return type_
    known = slots(type_)
    for slot, _ in wanted:
        if slot not in known:
            raise _unfit(f'there is no slot "{slot}"{nearest(slot, known)}; slots: {listed(known)}')
    return _widened(type_, wanted)


def slots(type_: Any) -> dict[str, tuple[type, ...]]:
    """The slots of a spec and of all specs in it, by field name, with the specs that each takes."""
    found: dict[str, tuple[type, ...]] = {}
    for name, hint in get_type_hints(type_, include_extras=True).items() if _is_spec(type_) else ():
        choices = tuple(member for union in _unions(hint) for member in members(union))
        if choices:
            found[name] = tuple(dict.fromkeys((*found.get(name, ()), *choices)))
        for inner in _specs(hint):
            for slot, more in slots(inner).items():
                found[slot] = tuple(dict.fromkeys((*found.get(slot, ()), *more)))
    return found


@functools.lru_cache(maxsize=64)  # equal values need one and the same class
def _widened(type_: Any, components: tuple[tuple[str, tuple[type, ...]], ...]) -> Any:
    more = dict(components)
    body: dict[str, Any] = {"__annotations__": {}, "__doc__": type_.__doc__, "__module__": type_.__module__}
    hints = get_type_hints(type_, include_extras=True)
    for field in dataclasses.fields(type_):
        hint = _rebuilt(hints[field.name], more.get(field.name, ()), components)
        if hint != hints[field.name]:
            description = type_.__pydantic_fields__[field.name].description
            body["__annotations__"][field.name] = Annotated[hint, Field(description=description)]
            if field.default_factory is not dataclasses.MISSING:
                body[field.name] = dataclasses.field(default_factory=field.default_factory)
    return spec(type(type_.__name__, (type_,), body)) if body["__annotations__"] else type_


def _rebuilt(hint: Any, added: tuple[type, ...], components: tuple[tuple[str, tuple[type, ...]], ...]) -> Any:
    """An annotation in which every slot takes `added` too and every spec is widened."""
    if _is_spec(hint):
        return _widened(hint, components)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, *marks = arguments
        slot = any(isinstance(mark, ByType) for mark in marks)
        wide = _rebuilt(inner, (), components)
        return Annotated[_union(wide, added) if slot else _rebuilt(inner, added, components), *marks]
    if origin in (types.UnionType, Union):
        return functools.reduce(operator.or_, (_rebuilt(argument, added, components) for argument in arguments))
    if origin is tuple:
        return types.GenericAlias(tuple, tuple(_rebuilt(argument, added, components) for argument in arguments))
    return hint


def _union(inner: Any, added: tuple[type, ...]) -> Any:
    taken = {type_name(member): member for member in members(inner)}
    for member in added:
        if type_name(member) in taken and taken[type_name(member)] is not member:
            raise _unfit(f'two components have the type "{type_name(member)}": {taken[type_name(member)]} and {member}')
    return functools.reduce(operator.or_, added, inner)


def _unions(hint: Any) -> list[Any]:
    """The annotations of the slots in a field's annotation."""
    if get_origin(hint) is Annotated and any(isinstance(mark, ByType) for mark in get_args(hint)[1:]):
        return [hint]
    return [union for argument in get_args(hint) for union in _unions(argument)]


def _specs(hint: Any) -> list[type]:
    if _is_spec(hint):
        return [hint]
    return [found for argument in get_args(hint) for found in _specs(argument)]


def _is_spec(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _checked(table: Any, source: str) -> Components:
    if not isinstance(table, Mapping):
        raise _unfit(f"{source} has no table of components; expected COMPONENTS = {{slot: [Spec, …]}}")
    for slot, found in table.items():
        if not isinstance(found, list | tuple) or not all(map(_is_component, found)):
            raise _unfit(f'{source}, slot "{slot}": expected a list of specs with a type; received {found!r}')
    return {str(slot): tuple(found) for slot, found in table.items()}


def _is_component(member: Any) -> bool:
    fields = getattr(member, "__dataclass_fields__", {}) if isinstance(member, type) else {}
    return "type" in fields and isinstance(fields["type"].default, str)


def _unfit(message: str) -> SpecError:
    return SpecError([Problem("", KEY, message)])
