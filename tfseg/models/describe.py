"""What a built network is like, in numbers."""

import math
from dataclasses import dataclass
from functools import cached_property

import keras

from tfseg.keras_internals import calls
from tfseg.layers import CrfRnn, MaxUnpooling2D, PadToGrid
from tfseg.models.coordinates import NoCoordinates, Unbounded, fold, seen
from tfseg.ops.geometry import ReceptiveField

SIDE = 512
"""Of the image for which sizes are compared: all maps of common strides divide it."""
WIDENING = (keras.layers.Conv2DTranspose, MaxUnpooling2D)
"""Layers whose stride is that of their output."""


@dataclass(frozen=True)
class Description:
    """The numbers that `tfseg check` prints.

    Args:
        trainable: parameters that training changes.
        fixed: parameters that it does not change by gradients: bilinear kernels, fixed scales, moving averages.
        output_stride: image pixels between two places of the deepest map.
        receptive_field: image pixels, in one direction, that a position of the deepest map sees: infinity where a layer
            sees the whole image, None where one is of an unknown kind.
        output_shape: of the logits, None where it follows the image.
        grid: `(multiple, remainder)` of the sides that the network sees images continued to, or None.
        drifting: the layers by whose padding positions lie otherwise in the image with its size, or its parity.
    """

    trainable: int
    fixed: int
    output_stride: int
    receptive_field: float | None
    output_shape: tuple[int | None, ...]
    grid: tuple[int, int] | None = None
    drifting: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.trainable + self.fixed

    def __str__(self) -> str:
        names = ("batch", "height", "width", "classes")
        sizes = zip(names, self.output_shape, strict=True)
        shape = ", ".join(name if size is None else str(size) for name, size in sizes)
        known = {None: "unknown", math.inf: "unbounded"}
        field = known.get(self.receptive_field, f"{self.receptive_field} pixels")
        lines = [
            f"parameters       {self.parameters:,} ({self.trainable:,} trainable, {self.fixed:,} fixed)",
            f"output stride    {self.output_stride}",
            f"receptive field  {field}",
            f"output           [{shape}]",
        ]
        if self.grid is not None:
            multiple, remainder = self.grid
            rest = f" + {remainder}" if remainder else ""
            lines.append(f"grid             images are continued to sides of {multiple} k{rest} pixels")
        if self.drifting:
            more = f" and {len(self.drifting) - 1} more" if len(self.drifting) > 1 else ""
            lines.append(
                "note             positions depend on the size of the image, by the padding of "
                f"{self.drifting[0]}{more}; keep all sides at one remainder modulo {self.output_stride}"
            )
        return "\n".join(lines)


def describe(model: keras.Model) -> Description:
    """Reads the numbers off a Functional model of one output."""
    reader = _Reader(model)
    fold(model.output, reader, ReceptiveField())
    deepest = max(reader.fields, key=lambda field: (field.jump, field.size))
    grids = [(layer.multiple, layer.remainder) for layer in model.layers if isinstance(layer, PadToGrid)]
    field = math.inf if reader.unbounded else None if reader.unknown else int(deepest.size)
    return Description(
        trainable=_count(model.trainable_weights),
        fixed=_count(model.non_trainable_weights),
        output_stride=int(deepest.jump),
        receptive_field=field,
        output_shape=tuple(model.output_shape),
        grid=grids[0] if grids else None,
        drifting=() if grids else tuple(layer.name for layer in model.layers if _drifts(layer)),
    )


def _drifts(layer: keras.layers.Layer) -> bool:
    """Whether `same` padding puts another number of zeros before the first pixel at one size than at another."""
    if getattr(layer, "padding", None) != "same" or isinstance(layer, WIDENING):
        return False
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", 1)
    axes = zip(keras.tree.flatten(window), keras.tree.flatten(getattr(layer, "strides", 1)), strict=False)
    return any(len({max(size - rest, 0) // 2 for rest in range(1, stride + 1)}) > 1 for size, stride in axes)


class _Reader:
    """Collects the receptive fields of all layers.

    Past a layer of an unknown kind, strides go on by what its output's size is to its input's.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.fields = [ReceptiveField()]
        self.unbounded = self.unknown = False

    def __call__(self, layer: keras.Operation, inputs: list[ReceptiveField]) -> ReceptiveField:
        if isinstance(layer, CrfRnn):  # it sees the whole image, behind the deepest map
            return inputs[0]
        try:
            found = seen(layer, inputs, axis=0)
        except NoCoordinates as reason:
            self.unbounded |= isinstance(reason, Unbounded)
            self.unknown |= not isinstance(reason, Unbounded)
            x = max(inputs, key=lambda field: field.size)
            found = ReceptiveField(x.size, x.jump * self._shrinkage(layer))
        self.fields.append(found)
        return found

    def _shrinkage(self, layer: keras.Operation) -> float:
        """How many times as high as its output the layer's input is; 1 where the output is no map."""
        before, after = self._heights[id(layer)]
        if after <= 1:
            return 1
        return round(before / after) if before > after else before / after

    @cached_property
    def _heights(self) -> dict[int, tuple[int, int]]:
        """Heights of the first input and output of each layer, by its id, for an image of `SIDE` pixels."""
        nodes = [call for call in calls(self.model) if call.input_tensors]
        tensors = {id(each): each for node in nodes for each in (node.input_tensors[0], node.output_tensors[0])}
        probe = keras.Model(self.model.input, list(tensors.values()))
        image = keras.KerasTensor((1, SIDE, SIDE, self.model.input.shape[-1]))
        shapes = (spec.shape for spec in keras.tree.flatten(probe.compute_output_spec(image)))
        heights = {key: shape[1] if len(shape) == 4 else 1 for key, shape in zip(tensors, shapes, strict=True)}
        return {
            id(node.operation): (heights[id(node.input_tensors[0])], heights[id(node.output_tensors[0])])
            for node in reversed(nodes)
        }


def _count(variables: list[keras.Variable]) -> int:
    """The numbers in `variables`; seeds of dropout are none of them."""
    return sum(math.prod(variable.shape) for variable in variables)
