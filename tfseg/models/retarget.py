"""Change of a network's output stride."""

import dataclasses
from fractions import Fraction
from typing import Any

from tfseg.models.graph import Graph
from tfseg.models.problems import ModelError
from tfseg.models.segmenter import Segmenter
from tfseg.spec.problems import SpecError


def retargeted(model: Segmenter | Graph, output_stride: int) -> Segmenter:
    """Returns `model` with another output stride of its backbone and the decoder's `STRIDE_DEPENDENT` fields scaled.

    Raises:
        ModelError: If `model` is a graph, the backbone does not support the output stride, or scaled values are not
            integers.
    """
    if not isinstance(model, Segmenter):
        raise ModelError(
            "model.type: the output stride of a graph is set by its layers; only that of a backbone can be changed. "
            "Received: graph"
        )
    backbone = model.backbone
    if "output_stride" not in {field.name for field in dataclasses.fields(backbone)}:
        raise ModelError(
            f"model.backbone.type: {backbone.type} has output stride {model.output_stride} only. "
            f"Received: {output_stride}"
        )
    ratio = Fraction(model.output_stride, output_stride)
    backbone = _changed("backbone", backbone, output_stride=output_stride)
    counted = {field.name: getattr(model.decoder, field.name) for field in dataclasses.fields(model.decoder)}
    changes = {
        name: _scaled(name, counted[name], ratio) for name in model.decoder.STRIDE_DEPENDENT if counted.get(name)
    }
    if counted.get("strides") == (model.output_stride,):
        changes["strides"] = (output_stride,)  # the decoder scores the deepest stage only
    return dataclasses.replace(model, backbone=backbone, decoder=_changed("decoder", model.decoder, **changes))


def _changed(part: str, spec: Any, **changes: Any) -> Any:
    """Returns `spec` with changed fields; raises a ModelError if they are invalid."""
    try:
        return dataclasses.replace(spec, **changes)
    except SpecError as error:
        lines = [f"model.{part}.{problem.path}: {problem.message}" for problem in error.problems]
        raise ModelError("\n".join(lines)) from error


def _scaled(name: str, value: int | tuple[int, ...], ratio: Fraction) -> int | tuple[int, ...]:
    counts = value if isinstance(value, tuple) else (value,)
    scaled = tuple(count * ratio for count in counts)
    if any(count.denominator != 1 for count in scaled):
        shown = list(counts) if isinstance(value, tuple) else value
        raise ModelError(
            f"model.decoder.{name}: multiplied by {ratio} for the new output stride, the values are not integers. "
            f"Received: {shown}"
        )
    whole = tuple(map(int, scaled))
    return whole if isinstance(value, tuple) else whole[0]
