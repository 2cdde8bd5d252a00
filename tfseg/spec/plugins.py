"""Plugins: components of other modules and packages, added to the slots of a spec."""

import dataclasses
import functools
import importlib
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any

from tfseg.spec.declare import Slot
from tfseg.spec.messages import listed, nearest
from tfseg.spec.problems import Problem, SpecError
from tfseg.spec.renamed import former_choice
from tfseg.spec.slots import marks, slots, widened
from tfseg.spec.source import Document

GROUP = "tfseg.components"
KEY = "plugins"

Table = tuple[str, Any]
"""Description of the source of a table of components, and the table."""
Components = dict[str, tuple[type, ...]]
"""Specs by slot, such as `{"decoder": (MyDecoder,)}`."""


def plugged(type_: Any, document: Document, *, allow_plugins: bool = False) -> Any:
    """Returns `type_` extended by the components of installed packages and of the document's `plugins`.

    Raises:
        SpecError: If the file has plugins and `allow_plugins` is false, or if a plugin is invalid.
    """
    named = document.data.get(KEY)
    modules = [name for name in named if isinstance(name, str)] if isinstance(named, tuple) else []
    try:
        if modules and not allow_plugins:
            raise _plugin_error(
                "importing these modules runs their code. Allow it with --allow-plugins, in Python with "
                f"allow_plugins=True. Received: {listed(modules)}"
            )
        tables = (*installed(), *map(table_of, modules))
        return widen(type_, joined(*(components(type_, table, source) for source, table in tables)))
    except SpecError as error:
        where = document.where((KEY,)) if modules else ""
        raise SpecError(dataclasses.replace(problem, where=where) for problem in error.problems) from error


def table_of(module: str) -> Table:
    """Imports a module and returns its `COMPONENTS = {slot: [Spec, …]}`.

    Raises:
        SpecError: If the module does not exist or its import fails.
    """
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
        hint = "; install it, or add its folder to PYTHONPATH" if missing else ""
        raise _plugin_error(f'cannot import "{module}": {type(error).__name__}: {error}{hint}') from error
    return f'the module "{module}"', getattr(found, "COMPONENTS", None)


@functools.cache  # searches every installed package
def installed() -> tuple[Table, ...]:
    """Returns the tables of installed packages, from their entry points of the group `tfseg.components`.

    Raises:
        SpecError: If an entry point cannot be loaded.
    """
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            table = entry.load()
        except Exception as error:
            message = f'cannot load the entry point "{entry.name} = {entry.value}": {type(error).__name__}: {error}'
            raise _plugin_error(message) from error
        found.append((f'the entry point "{entry.name}"', table))
    return tuple(found)


def joined(*tables: Components) -> Components:
    """Merges several tables."""
    names = dict.fromkeys(slot for table in tables for slot in table)
    return {slot: tuple(dict.fromkeys(member for table in tables for member in table.get(slot, ()))) for slot in names}


def widen(type_: Any, components: Mapping[str, Iterable[type]]) -> Any:
    """Returns a subclass of the spec `type_` whose slots, at any depth, accept further specs.

    Args:
        type_: A spec.
        components: Specs to add, by the field name of the slot.

    Raises:
        SpecError: If there is no such slot, two specs of a slot have the same `type`, or a spec lacks an attribute
            that the slot requires.
    """
    wanted = tuple((slot, tuple(found)) for slot, found in components.items() if tuple(found))
    if not wanted:
        return type_
    known = slots(type_)
    for slot, _ in wanted:
        if slot not in known:
            near = nearest(slot, known) or "."
            raise _plugin_error(f'there is no slot "{slot}"{near} Slots: {listed(known)}')
    try:
        return widened(type_, wanted)
    except TypeError as error:
        raise _plugin_error(str(error)) from error


def components(type_: Any, table: Any, source: str) -> Components:
    """Checks a table of components against the slots of a spec type and returns it with tuples.

    Raises:
        SpecError: If the table is not a mapping, or has a component that the slot does not accept.
    """
    if not isinstance(table, Mapping):
        raise _plugin_error(f"{source} has no table of components; expected COMPONENTS = {{slot: [Spec, …]}}")
    known = marks(type_)
    for name, found in table.items():
        kind = known.get(name, Slot())  # `widen` reports an unknown slot
        wrong = [each for each in found if not kind.takes(each)] if isinstance(found, list | tuple) else [found]
        if wrong:
            raise _plugin_error(f'{source}, slot "{name}": expected a list of {kind.WANTED}; received {wrong[0]!r}')
        for member in found:
            if (reason := kind.refusal(member)) is not None:
                raise _plugin_error(f'{source}, slot "{name}": {member.__qualname__} {reason}')
            word = kind.word(member) if name in known else ""
            if (new := former_choice(name, word)) is not None:  # the pipeline file of a run would be converted
                why = f'has the type "{word}", a former name of "{new}"; choose another type'
                raise _plugin_error(f'{source}, slot "{name}": {member.__qualname__} {why}')
    return {str(name): tuple(found) for name, found in table.items()}


def _plugin_error(message: str) -> SpecError:
    return SpecError([Problem("", KEY, message)])
