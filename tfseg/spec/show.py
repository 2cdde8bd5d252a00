"""Conversion of a spec to YAML that reads back to an equal value."""

from pathlib import Path
from typing import Any

import yaml

from tfseg.spec.scalars import is_text
from tfseg.spec.validate import adapter

WIDTH = 110


def dump(value: Any) -> str:
    """Returns a spec as YAML, defaults included, which parsers of YAML 1.1 and 1.2 read alike."""
    return dump_plain(adapter(type(value)).dump_python(value, warnings="none", by_alias=True))


def dump_plain(value: Any) -> str:
    """Returns mappings, lists and scalars as YAML, which parsers of YAML 1.1 and 1.2 read alike."""
    return yaml.dump(_plain(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str | Path) else value


class _Dumper(yaml.SafeDumper):
    """PyYAML's dumper for YAML 1.1, which also quotes the strings that YAML 1.2 would read as other types."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def sequence(self, data: list[Any]) -> yaml.Node:
        """Represents a list of scalars on one line, and any other list with one item per line."""
        flow = not any(isinstance(item, list | dict) for item in data)
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)

    def text(self, data: str) -> yaml.Node:
        style = None if is_text(data) else "'"
        if not data.isprintable():  # PyYAML's other styles lose some line breaks
            style = '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(list, _Dumper.sequence)
_Dumper.add_representer(str, _Dumper.text)
