"""What there is to choose from: the components of every slot, and the shipped pipelines."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any, get_args, get_type_hints

from tfseg.pipeline import Pipeline
from tfseg.spec.declare import type_name


def components(spec: type = Pipeline) -> dict[str, dict[str, str]]:
    """Every slot of a pipeline file by its dotted path, with what may stand there and a line about each."""
    found: dict[str, dict[str, str]] = {}
    _collect(spec, "", found)
    return found


def _collect(spec: type, path: str, found: dict[str, dict[str, str]]) -> None:
    for name, annotation in get_type_hints(spec, include_extras=True).items():
        for choice in _specs(annotation):
            slot = f"{path}{name}"
            if "type" in choice.__dataclass_fields__:  # type: ignore[attr-defined]
                found.setdefault(slot, {})[type_name(choice)] = (inspect.getdoc(choice) or "").split("\n", 1)[0]
            _collect(choice, f"{slot}.", found)


def _specs(annotation: Any) -> list[type]:
    """The specs in an annotation, however deep: `tuple[Annotated[Scale | Flip, BY_TYPE], ...]` gives both."""
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return [annotation]
    return [spec for part in get_args(annotation) for spec in _specs(part)]


def headline(file: Path) -> str:
    """What the first comment of a pipeline file says about it."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), "")
