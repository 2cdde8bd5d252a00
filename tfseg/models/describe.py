"""What a built network is like, in numbers."""

import math
from dataclasses import dataclass

import keras

from tfseg.layers import CrfRnn
from tfseg.models.coordinates import NoCoordinates, fold, seen
from tfseg.ops.geometry import ReceptiveField


@dataclass(frozen=True)
class Description:
    """The numbers that `tfseg check` prints.

    Args:
        trainable: parameters that training changes.
        fixed: parameters that it does not change by gradients: bilinear kernels, fixed scales, moving averages.
        output_stride: image pixels between two places of the deepest map.
        receptive_field: image pixels, in one direction, that a place of the deepest map sees; None where a layer sees
            the whole image or is of an unknown kind.
        output_shape: of the logits, None where it follows the image.
    """

    trainable: int
    fixed: int
    output_stride: int
    receptive_field: int | None
    output_shape: tuple[int | None, ...]

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.trainable + self.fixed

    def __str__(self) -> str:
        names = ("batch", "height", "width", "classes")
        sizes = zip(names, self.output_shape, strict=True)
        shape = ", ".join(name if size is None else str(size) for name, size in sizes)
        field = "unbounded" if self.receptive_field is None else f"{self.receptive_field} pixels"
        return (
            f"parameters       {self.parameters:,} ({self.trainable:,} trainable, {self.fixed:,} fixed)\n"
            f"output stride    {self.output_stride}\n"
            f"receptive field  {field}\n"
            f"output           [{shape}]"
        )


def describe(model: keras.Model) -> Description:
    """Reads the numbers off a Functional model of one output."""
    fields = [ReceptiveField()]
    bounded = _collect(model.output, fields)
    deepest = max(fields, key=lambda field: (field.jump, field.size))
    return Description(
        trainable=_count(model.trainable_weights),
        fixed=_count(model.non_trainable_weights),
        output_stride=int(deepest.jump),
        receptive_field=int(deepest.size) if bounded else None,
        output_shape=tuple(model.output_shape),
    )


def _collect(tensor: keras.KerasTensor, fields: list[ReceptiveField]) -> bool:
    """Adds the receptive field of every layer before `tensor`; False where one is not known, and the rest missing."""

    def rule(layer: keras.Operation, inputs: list[ReceptiveField]) -> ReceptiveField:
        if isinstance(layer, CrfRnn):  # it sees the whole image, behind the deepest map
            return inputs[0]
        fields.append(seen(layer, inputs, axis=0))
        return fields[-1]

    try:
        fold(tensor, rule, ReceptiveField())
    except NoCoordinates:
        return False
    return True


def _count(variables: list[keras.Variable]) -> int:
    """The numbers in `variables`; seeds of dropout are none of them."""
    return sum(math.prod(variable.shape) for variable in variables)
