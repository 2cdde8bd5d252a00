"""The slots of a spec type, and how one is opened to more specs."""

import dataclasses
import functools
import inspect
import operator
import types
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import Field
from pydantic.fields import FieldInfo

from tfseg.spec.declare import ByType, completed, members, spec, type_name

More = tuple[tuple[str, tuple[type, ...]], ...]
"""Specs to add by slot, as pairs (which can be hashed)."""


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


def described(type_: Any) -> dict[str, dict[str, str]]:
    """The slots of a spec and of all specs in it, with the types that each takes and the first line about each."""
    return {
        slot: {type_name(choice): (inspect.getdoc(choice) or "").split("\n", 1)[0] for choice in choices}
        for slot, choices in slots(type_).items()
    }


@functools.lru_cache(maxsize=64)  # equal values need one and the same class
def widened(type_: Any, components: More) -> Any:
    """The spec `type_` with its slots, and those of all specs in it, open to more; itself where it has none of them.

    Raises:
        TypeError: two specs of a slot have the same `type`, or one lacks what the slot asks for.
    """
    more = dict(components)
    body: dict[str, Any] = {"__annotations__": {}, "__doc__": type_.__doc__, "__module__": type_.__module__}
    hints = get_type_hints(type_, include_extras=True)
    for name, field in type_.__pydantic_fields__.items():
        hint = _rebuilt(hints[name], more.get(name, ()), components)
        if hint != hints[name]:
            body["__annotations__"][name] = Annotated[hint, Field(description=field.description)]
            body |= _default(name, field, components)
    return spec(type(type_.__name__, (type_,), body)) if body["__annotations__"] else type_


def _default(name: str, field: FieldInfo, components: More) -> dict[str, Any]:
    """The default of a field whose annotation was widened, as a class body holds it."""
    if field.is_required():
        return {}
    return {name: Field(default_factory=lambda: _moved(field.get_default(call_default_factory=True), components))}


def _moved(value: Any, components: More) -> Any:
    """A value whose specs are of the widened classes."""
    if isinstance(value, tuple):
        return tuple(_moved(item, components) for item in value)
    if not _is_spec(type(value)):
        return value
    wide: Any = _rebuilt(type(value), (), components)
    return wide(**{field.name: _moved(getattr(value, field.name), components) for field in dataclasses.fields(value)})


def _rebuilt(hint: Any, added: tuple[type, ...], components: More) -> Any:
    """An annotation in which every slot takes `added` too and every spec is widened."""
    if _is_spec(hint):
        return widened(hint, components)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, *marks = arguments
        slot = next((mark for mark in marks if isinstance(mark, ByType)), None)
        if slot is None:
            return Annotated[_rebuilt(inner, added, components), *marks]
        members_ = tuple(completed(member, slot.contract) for member in added)
        return Annotated[_union(_rebuilt(inner, (), components), members_), *marks]
    if origin in (types.UnionType, Union):
        return functools.reduce(operator.or_, (_rebuilt(argument, added, components) for argument in arguments))
    if origin is tuple:
        return types.GenericAlias(tuple, tuple(_rebuilt(argument, added, components) for argument in arguments))
    return hint


def _union(inner: Any, added: tuple[type, ...]) -> Any:
    taken = {type_name(member): member for member in members(inner)}
    for member in added:
        if type_name(member) in taken and taken[type_name(member)] is not member:
            names = [f"{found.__module__}.{found.__qualname__}" for found in (taken[type_name(member)], member)]
            raise TypeError(f'two components have the type "{type_name(member)}": {" and ".join(names)}')
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
