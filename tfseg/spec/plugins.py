"""A user's own components: the slots of a spec type widened by specs from other packages."""

import dataclasses
import functools
import importlib
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any

from tfseg.spec.declare import Slot
from tfseg.spec.messages import listed, nearest
from tfseg.spec.problems import Problem, SpecError
from tfseg.spec.slots import marks, slots, widened
from tfseg.spec.source import Document

GROUP = "tfseg.components"
KEY = "plugins"

Table = tuple[str, Any]
"""Where a table of components comes from, in words, and what stands there."""
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
        tables = (*installed(), *map(table_of, modules))
        return widen(type_, joined(*(components(type_, table, source) for source, table in tables)))
    except SpecError as error:
        where = document.where((KEY,)) if modules else ""
        raise SpecError(dataclasses.replace(problem, where=where) for problem in error.problems) from error


def table_of(module: str) -> Table:
    """The `COMPONENTS = {slot: [Spec, …]}` of a module, which is imported.

    Raises:
        SpecError: there is no such module, or it fails when imported.
    """
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
        hint = ". Modules are found where Python finds them: install it, or set PYTHONPATH" if missing else ""
        raise _unfit(f'cannot import "{module}": {type(error).__name__}: {error}{hint}') from error
    return f'the module "{module}"', getattr(found, "COMPONENTS", None)


@functools.cache  # a search of every installed package
def installed() -> tuple[Table, ...]:
    """The tables of installed packages, by their entry points of the group `tfseg.components`.

    Raises:
        SpecError: an entry point cannot be loaded.
    """
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            table = entry.load()
        except Exception as error:
            message = f'cannot load the entry point "{entry.name} = {entry.value}": {type(error).__name__}: {error}'
            raise _unfit(message) from error
        found.append((f'the entry point "{entry.name}"', table))
    return tuple(found)


def joined(*tables: Components) -> Components:
    """Several tables as one."""
    names = dict.fromkeys(slot for table in tables for slot in table)
    return {slot: tuple(dict.fromkeys(member for table in tables for member in table.get(slot, ()))) for slot in names}


def widen(type_: Any, components: Mapping[str, Iterable[type]]) -> Any:
    """The spec `type_` with each named slot, wherever it lies in it, open to more specs; a subclass of `type_`.

    Args:
        type_: a spec.
        components: the specs to add, by the name of the field that is the slot.

    Raises:
        SpecError: there is no such slot, two specs of a slot have the same `type`, or one lacks what the slot asks for.
    """
    wanted = tuple((slot, tuple(found)) for slot, found in components.items() if tuple(found))
    if not wanted:
        return type_
    known = slots(type_)
    for slot, _ in wanted:
        if slot not in known:
            near = nearest(slot, known) or "."
            raise _unfit(f'there is no slot "{slot}"{near} Slots: {listed(known)}')
    try:
        return widened(type_, wanted)
    except TypeError as error:
        raise _unfit(str(error)) from error


def components(type_: Any, table: Any, source: str) -> Components:
    """What a table adds to the slots of a spec type, each looked at by the slot that it is for.

    Raises:
        SpecError: it is no table, or holds what the slot cannot take.
    """
    if not isinstance(table, Mapping):
        raise _unfit(f"{source} has no table of components; expected COMPONENTS = {{slot: [Spec, …]}}")
    known = marks(type_)
    for name, found in table.items():
        kind = known.get(name, Slot())  # `widen` says that there is no such slot
        wrong = [each for each in found if not kind.takes(each)] if isinstance(found, list | tuple) else [found]
        if wrong:
            raise _unfit(f'{source}, slot "{name}": expected a list of {kind.WANTED}; received {wrong[0]!r}')
        for member in found:
            if (reason := kind.refusal(member)) is not None:
                raise _unfit(f'{source}, slot "{name}": {member.__qualname__} {reason}')
    return {str(name): tuple(found) for name, found in table.items()}


def _unfit(message: str) -> SpecError:
    return SpecError([Problem("", KEY, message)])
