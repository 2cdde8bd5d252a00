"""What tfseg can say without training: about one pipeline, and about what there is to choose from."""

import dataclasses
import inspect
import math
from pathlib import Path
from typing import Any, get_args, get_type_hints

import keras

from tfseg.models.coordinates import NoCoordinates, receptive_field
from tfseg.pipeline import Pipeline
from tfseg.spec.declare import type_name


def describe(pipeline: Pipeline) -> dict[str, str]:
    """Builds the network symbolically and measures it; nothing is loaded, read or trained."""
    model = pipeline.build()
    learned = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    fixed = sum(math.prod(weight.shape) for weight in model.non_trainable_weights)
    shape = ", ".join(map(str, ("batch", "height", "width", *model.output_shape[3:])))
    return {
        "parameters": f"{learned:,} learned, {fixed:,} fixed",
        "output stride": str(pipeline.model.output_stride),
        "receptive field": _field(model.output),
        "output": f"{model.output.dtype} [{shape}]",
    }


def _field(logits: keras.KerasTensor) -> str:
    try:
        sizes = [receptive_field(logits, axis).size for axis in (0, 1)]
    except NoCoordinates as error:
        return f"unknown. {error}"
    return "the whole image" if math.inf in sizes else f"{sizes[0]} x {sizes[1]} pixels"


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
                found.setdefault(slot, {})[type_name(choice)] = _first_line(inspect.getdoc(choice) or "")
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


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0]
