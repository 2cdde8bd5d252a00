"""Summary of a built network: parameters, output stride, receptive field."""

import math
from dataclasses import dataclass
from functools import cached_property

import keras

from tfseg.keras_internals import calls
from tfseg.layers import CrfRnn, MaxUnpooling2D, PadToGrid
from tfseg.models.coordinates import NoCoordinates, Unbounded, fold, layer_receptive_field
from tfseg.ops.geometry import ReceptiveField

SIDE = 512
"""Image side for comparing input and output sizes; a multiple of all common strides."""
UPSAMPLING = (keras.layers.Conv2DTranspose, MaxUnpooling2D)
"""Layers whose strides upsample."""


@dataclass(frozen=True)
class Description:
    """Network summary that `tfseg check` prints.

    Args:
        trainable: Number of trainable parameters.
        non_trainable: Number of non-trainable parameters: bilinear kernels, fixed scales, moving averages.
        output_stride: Ratio of image to feature resolution at the deepest feature map.
        receptive_field: Side of the receptive field of the deepest feature map, in pixels: infinity if a layer pools
            the whole image, None if a layer type is unknown.
        output_shape: Shape of the logits; None for axes that follow the image.
        grid: `(multiple, remainder)` of the sides to which the network pads images, or None.
        size_dependent: Names of the layers whose padding makes positions depend on the image size.
    """

    trainable: int
    non_trainable: int
    output_stride: int
    receptive_field: float | None
    output_shape: tuple[int | None, ...]
    grid: tuple[int, int] | None = None
    size_dependent: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Total number of parameters."""
        return self.trainable + self.non_trainable

    def __str__(self) -> str:
        names = ("batch", "height", "width", "classes")
        sizes = zip(names, self.output_shape, strict=True)
        shape = ", ".join(name if size is None else str(size) for name, size in sizes)
        known = {None: "unknown", math.inf: "unbounded"}
        field = known.get(self.receptive_field, f"{self.receptive_field} pixels")
        counts = f"{self.trainable:,} trainable, {self.non_trainable:,} non-trainable"
        lines = [
            f"parameters       {self.parameters:,} ({counts})",
            f"output stride    {self.output_stride}",
            f"receptive field  {field}",
            f"output           [{shape}]",
        ]
        if self.grid is not None:
            multiple, remainder = self.grid
            rest = f" plus {remainder}" if remainder else ""
            lines.append(f"grid             images are padded to multiples of {multiple} pixels{rest}")
        if self.size_dependent:
            more = f" and {len(self.size_dependent) - 1} more" if len(self.size_dependent) > 1 else ""
            lines.append(
                "note             positions depend on the image size because of the padding of "
                f"{self.size_dependent[0]}{more}; use image sizes with the same remainder modulo {self.output_stride}"
            )
        return "\n".join(lines)


def describe(model: keras.Model) -> Description:
    """Returns the summary of a Functional model with one output."""
    reader = _Reader(model)
    fold(model.output, reader, ReceptiveField())
    deepest = max(reader.fields, key=lambda field: (field.jump, field.size))
    grids = [(layer.multiple, layer.remainder) for layer in model.layers if isinstance(layer, PadToGrid)]
    field = math.inf if reader.unbounded else None if reader.unknown else int(deepest.size)
    return Description(
        trainable=_count(model.trainable_weights),
        non_trainable=_count(model.non_trainable_weights),
        output_stride=int(deepest.jump),
        receptive_field=field,
        output_shape=tuple(model.output_shape),
        grid=grids[0] if grids else None,
        size_dependent=() if grids else tuple(layer.name for layer in model.layers if _is_size_dependent(layer)),
    )


def _is_size_dependent(layer: keras.layers.Layer) -> bool:
    """Returns whether the amount of `same` padding before the first pixel depends on the input size."""
    if getattr(layer, "padding", None) != "same" or isinstance(layer, UPSAMPLING):
        return False
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", 1)
    axes = zip(keras.tree.flatten(window), keras.tree.flatten(getattr(layer, "strides", 1)), strict=False)
    return any(len({max(size - rest, 0) // 2 for rest in range(1, stride + 1)}) > 1 for size, stride in axes)


class _Reader:
    """Collects the receptive fields of all layers.

    A layer whose receptive field is unknown or unbounded multiplies the stride by the ratio of its input size to its
    output size.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.fields = [ReceptiveField()]
        self.unbounded = self.unknown = False

    def __call__(self, layer: keras.Operation, inputs: list[ReceptiveField]) -> ReceptiveField:
        if isinstance(layer, CrfRnn):  # unbounded, but applied to logits after the deepest feature map
            return inputs[0]
        try:
            found = layer_receptive_field(layer, inputs, axis=0)
        except NoCoordinates as reason:
            self.unbounded |= isinstance(reason, Unbounded)
            self.unknown |= not isinstance(reason, Unbounded)
            x = max(inputs, key=lambda field: field.size)
            found = ReceptiveField(x.size, x.jump * self._shrinkage(layer))
        self.fields.append(found)
        return found

    def _shrinkage(self, layer: keras.Operation) -> float:
        """Returns the ratio of input to output height of a layer; 1 if the output is not a feature map."""
        before, after = self._heights[id(layer)]
        if after <= 1:
            return 1
        return round(before / after) if before > after else before / after

    @cached_property
    def _heights(self) -> dict[int, tuple[int, int]]:
        """Heights of the first input and output of each layer, by `id(layer)`, for an image of `SIDE` pixels."""
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
    """Returns the number of parameters; seeds of dropout are not among them."""
    return sum(math.prod(variable.shape) for variable in variables)
