"""Slots of a spec type, and their extension by further specs."""

import dataclasses
import functools
import inspect
import operator
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import Field
from pydantic.fields import FieldInfo

from tfseg.spec.declare import Slot, spec
from tfseg.spec.docstrings import first_sentence

More = tuple[tuple[str, tuple[type, ...]], ...]
"""Specs to add, by slot, as hashable pairs."""


def slots(type_: Any) -> dict[str, tuple[type, ...]]:
    """Returns the slots of a spec and of all specs in it, by field name, with the components of each."""
    found: dict[str, tuple[type, ...]] = {}
    for name, hint, mark in _marked(type_):
        found[name] = tuple(dict.fromkeys((*found.get(name, ()), *mark.members(hint))))
    return found


def marks(type_: Any) -> dict[str, Slot]:
    """Returns the mark of each slot of a spec and of all specs in it, by field name."""
    return {name: mark for name, _, mark in _marked(type_)}


def _marked(type_: Any) -> Iterator[tuple[str, Any, Slot]]:
    """Yields field name, annotation and mark of every slot."""
    for name, hint in get_type_hints(type_, include_extras=True).items() if _is_spec(type_) else ():
        yield from ((name, *found) for found in _unions(hint))
        for inner in _specs(hint):
            yield from _marked(inner)


def described(type_: Any) -> dict[str, dict[str, str]]:
    """Returns the slots of a spec and of all specs in it: for each slot, its types, with one sentence per type."""
    kinds = marks(type_)
    return {
        slot: {kinds[slot].word(choice): first_sentence(inspect.getdoc(choice) or "") for choice in choices}
        for slot, choices in slots(type_).items()
    }


@functools.lru_cache(maxsize=64)  # always the same class, because specs of different classes are never equal
def widened(type_: Any, components: More) -> Any:
    """Returns the spec `type_` with its slots, and those of all specs in it, extended by `components`.

    Returns `type_` itself if it has no slot to extend.

    Raises:
        TypeError: If two specs of a slot have the same `type`, or a spec lacks an attribute that the slot requires.
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
    """Returns the default of a field whose annotation was widened, as an entry of a class body."""
    if field.is_required():
        return {}
    return {name: Field(default_factory=lambda: _moved(field.get_default(call_default_factory=True), components))}


def _moved(value: Any, components: More) -> Any:
    """Converts the specs in a value to the widened classes."""
    if isinstance(value, tuple):
        return tuple(_moved(item, components) for item in value)
    if not _is_spec(type(value)):
        return value
    wide: Any = _rebuilt(type(value), (), components)
    return wide(**{field.name: _moved(getattr(value, field.name), components) for field in dataclasses.fields(value)})


def _rebuilt(hint: Any, added: tuple[type, ...], components: More) -> Any:
    """Returns an annotation in which every slot also accepts `added` and every spec is widened."""
    if _is_spec(hint):
        return widened(hint, components)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, *others = arguments
        slot = next((mark for mark in others if isinstance(mark, Slot)), None)
        if slot is None:
            return Annotated[_rebuilt(inner, added, components), *others]
        wide, mark = slot.opened(_rebuilt(inner, (), components), added)
        return Annotated[wide, *(mark if each is slot else each for each in others)]
    if origin in (types.UnionType, Union):
        return functools.reduce(operator.or_, (_rebuilt(argument, added, components) for argument in arguments))
    if origin is tuple:
        return types.GenericAlias(tuple, tuple(_rebuilt(argument, added, components) for argument in arguments))
    return hint


def _unions(hint: Any) -> list[tuple[Any, Slot]]:
    """Returns annotation and mark of each slot in a field's annotation."""
    found = [mark for mark in get_args(hint)[1:] if isinstance(mark, Slot)] if get_origin(hint) is Annotated else []
    return [(hint, found[0])] if found else [union for argument in get_args(hint) for union in _unions(argument)]


def _specs(hint: Any) -> list[type]:
    if _is_spec(hint):
        return [hint]
    return [found for argument in get_args(hint) for found in _specs(argument)]


def _is_spec(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)
