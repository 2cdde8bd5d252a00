"""Coordinate maps and receptive fields of tensors, derived from a Functional graph.

Position `i` of a tensor corresponds to image pixel `j` where `i = scale * j + offset`. Each layer updates scale and
offset.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import keras
from keras import layers as kl

from tfseg import layers as tl
from tfseg.keras_internals import producer
from tfseg.ops.geometry import CoordinateMap, ReceptiveField, conv_map, crop_offset, deconv_map

T = TypeVar("T")

CONVOLUTIONS = (kl.Conv2D, kl.DepthwiseConv2D, kl.SeparableConv2D)
POOLS = (
    kl.MaxPooling2D, kl.AveragePooling2D, tl.CaffeMaxPooling2D, tl.CaffeAveragePooling2D, tl.MaxPoolingWithArgmax2D,
)  # fmt: skip
TRANSPOSED = (kl.Conv2DTranspose, tl.BilinearConv2DTranspose, tl.MaxUnpooling2D)
"""Layers with the geometry of a transposed convolution. Unpooling puts each value back within its pooling window."""
POINTWISE = (
    kl.Activation, kl.ReLU, kl.LeakyReLU, kl.PReLU, kl.ELU, kl.Softmax, kl.BatchNormalization, kl.LayerNormalization,
    kl.GroupNormalization, kl.Dropout, kl.SpatialDropout2D, kl.GaussianNoise, kl.Rescaling, kl.Identity,
    kl.Add, kl.Subtract, kl.Multiply, kl.Average, kl.Maximum, kl.Minimum, kl.Concatenate,
    tl.Normalize, tl.FixedScale, tl.PadToSize, tl.LocalResponseNormalization,
    tl.PadToGrid, tl.CrfRnn,
)  # fmt: skip
"""Layers that keep the position of every value, or combine values at the same position."""
COMPOSITES = (
    tl.AtrousSpatialPyramidPooling, tl.ParallelAtrousClassifier, tl.DilatedContext, tl.PyramidPooling,
    tl.AttentionToScale,
)  # fmt: skip
"""Composite layers that keep the positions of their input and have a `receptive_field`."""


class NoCoordinates(ValueError):
    """Raised for tensors whose positions are unknown or size-dependent, or whose receptive field is unbounded."""


class Unbounded(NoCoordinates):
    """A layer whose receptive field is the whole image."""


class SizeDependent(NoCoordinates):
    """A layer whose sampling positions depend on the size of its input."""


class UnknownLayer(NoCoordinates):
    """A layer type whose geometry is unknown."""


def coordinate_map(tensor: keras.KerasTensor, axis: int = 0) -> CoordinateMap:
    """Returns the map from image pixels to positions of `tensor` along `axis` (0: height, 1: width).

    Raises:
        NoCoordinates: If a layer before `tensor` has no fixed positions, or two inputs of a layer have different
            coordinate maps.
    """
    return fold(tensor, lambda layer, inputs: layer_coordinate_map(layer, inputs, axis), CoordinateMap())


def receptive_field(tensor: keras.KerasTensor, axis: int = 0) -> ReceptiveField:
    """Returns the receptive field of `tensor` along `axis`: its size and its stride, in image pixels.

    Raises:
        NoCoordinates: If a layer before `tensor` is unbounded or of an unknown type.
    """
    return fold(tensor, lambda layer, inputs: layer_receptive_field(layer, inputs, axis), ReceptiveField())


def offset(x: keras.KerasTensor, reference: keras.KerasTensor) -> int:
    """Returns the offset at which cropping aligns `x` with `reference`; negative to crop `reference` instead.

    Raises:
        NoCoordinates: If one of them has no fixed positions.
        ValueError: If their positions do not coincide, or the offsets of height and width differ.
    """
    height, width = (crop_offset(coordinate_map(x, axis), coordinate_map(reference, axis)) for axis in (0, 1))
    if height != width:
        raise ValueError(
            f"The crop offset must be the same for height and width. Received: height={height}, width={width}"
        )
    return height


def fold(tensor: keras.KerasTensor, rule: Callable[[keras.Operation, list[T]], T], start: T) -> T:
    """Returns the value of `tensor`: `start` at the model's inputs, then `rule(layer, input values)` layer by layer."""
    values: dict[int, T] = {}
    pending = [tensor]
    while pending:
        layer, call = producer(pending[-1])
        inputs = call.input_tensors
        missing = [each for each in inputs if id(each) not in values]
        if missing:
            pending.extend(missing)
            continue
        current = pending.pop()
        values[id(current)] = rule(layer, [values[id(each)] for each in inputs]) if inputs else start
    return values[id(tensor)]


@dataclass(frozen=True)
class Window:
    """Kernel or pooling window along one axis."""

    size: int
    stride: int
    padding: str | int

    @property
    def before(self) -> int | None:
        """Padding before the first pixel; None if it depends on the size of the feature map.

        `same` pads for `ceil(n / stride)` windows, with the larger half after the last pixel.
        """
        if isinstance(self.padding, int):
            return self.padding
        if self.padding == "valid":
            return 0
        rests = [self.stride, *range(1, self.stride)]  # n % stride, or stride if that is 0
        befores = {max(self.size - rest, 0) // 2 for rest in rests}
        return befores.pop() if len(befores) == 1 else None


def window(layer: keras.Operation, axis: int) -> Window | None:
    """Returns the window of a convolution, transposed convolution or pooling layer; None for other layers."""
    if isinstance(layer, (*POOLS, tl.MaxUnpooling2D)):
        return Window(_along(layer.pool_size, axis), _along(layer.strides, axis), _padding(layer, axis))
    if isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED)):
        size = (_along(layer.kernel_size, axis) - 1) * _along(layer.dilation_rate, axis) + 1
        return Window(size, _along(layer.strides, axis), _padding(layer, axis))
    if isinstance(layer, tl.AtrousMaxPooling2D):
        rate = layer.dilation_rate[axis]
        return Window((layer.pool_size[axis] - 1) * rate + 1, 1, layer.before[axis] * rate)
    return None


def _along(value: int | tuple[int, ...], axis: int) -> int:
    return value if isinstance(value, int) else value[axis]


def _padding(layer: keras.Operation, axis: int) -> str | int:
    return layer.padding if isinstance(layer.padding, str) else _along(layer.padding, axis)


def layer_coordinate_map(layer: keras.Operation, inputs: list[CoordinateMap], axis: int) -> CoordinateMap:
    """Returns the coordinate map of a layer's output from those of its inputs."""
    if isinstance(layer, (tl.ResizeLike, tl.ZoomLike)):
        return inputs[1]
    if isinstance(layer, tl.CropLike):
        return inputs[0].then(CoordinateMap(Fraction(1), Fraction(-layer.offset)))
    if isinstance(layer, kl.ZeroPadding2D):
        return inputs[0].then(CoordinateMap(Fraction(1), Fraction(layer.padding[axis][0])))
    if isinstance(layer, tl.MirrorPadding2D):
        return inputs[0].then(CoordinateMap(Fraction(1), Fraction(layer.padding)))
    if isinstance(layer, tl.ResizeBy):
        return inputs[0].then(CoordinateMap(layer.fraction))
    if isinstance(layer, kl.UpSampling2D):  # half-pixel centers
        factor = Fraction(layer.size[axis])
        return inputs[0].then(CoordinateMap(factor, (factor - 1) / 2))
    found = window(layer, axis)
    if found is not None:
        return inputs[0].then(_window_map(layer, found))
    if not isinstance(layer, (*POINTWISE, *COMPOSITES)):
        raise _unknown(layer)
    if any(each != inputs[0] for each in inputs):
        raise NoCoordinates(f"The inputs of layer {layer.name!r} are not aligned. Received: {inputs}")
    return inputs[0]


def _window_map(layer: keras.Operation, found: Window) -> CoordinateMap:
    if isinstance(layer, TRANSPOSED):
        return deconv_map(found.size, found.stride, 0 if found.padding == "valid" else (found.size - found.stride) // 2)
    if found.before is None:
        raise SizeDependent(
            f"The sampling positions of layer {layer.name!r} depend on the image size: padding='same' with stride "
            f"{found.stride} and a window of {found.size} pads before the first pixel at some sizes only."
        )
    return conv_map(found.size, found.stride, found.before)


def layer_receptive_field(layer: keras.Operation, inputs: list[ReceptiveField], axis: int) -> ReceptiveField:
    """Returns the receptive field of a layer's output from those of its inputs."""
    x = max(inputs, key=lambda field: field.size)
    if isinstance(layer, (tl.ResizeLike, tl.ZoomLike)):
        return ReceptiveField(inputs[0].size + inputs[0].jump, inputs[1].jump)  # interpolates between two positions
    if isinstance(layer, kl.UpSampling2D):
        between = x.jump if layer.interpolation == "bilinear" else 0
        return ReceptiveField(x.size + between, x.jump / layer.size[axis])
    if isinstance(layer, (tl.CropLike, tl.MirrorPadding2D, tl.ResizeBy)):
        return inputs[0]  # after ResizeBy, in pixels of the resized image
    if isinstance(layer, tl.CrfRnn):
        raise Unbounded(
            f"The receptive field of layer {layer.name!r} is unbounded: {type(layer).__name__} compares all pixels."
        )
    if isinstance(layer, (kl.GlobalAveragePooling2D, kl.GlobalMaxPooling2D)):
        raise Unbounded(
            f"The receptive field of layer {layer.name!r} is unbounded: {type(layer).__name__} pools all pixels."
        )
    if isinstance(layer, COMPOSITES):
        if layer.receptive_field is None:
            raise Unbounded(
                f"The receptive field of layer {layer.name!r} is unbounded: {type(layer).__name__} averages all pixels."
            )
        return x.then(layer.receptive_field)
    found = window(layer, axis)
    if found is not None and isinstance(layer, TRANSPOSED):
        overlapping = -(-found.size // found.stride)  # maximum number of inputs that contribute to one output position
        return ReceptiveField(x.size + (overlapping - 1) * x.jump, x.jump / found.stride)
    if found is not None:
        return x.then(found.size, found.stride)
    if not isinstance(layer, (*POINTWISE, kl.ZeroPadding2D)):
        raise _unknown(layer)
    return x


def _unknown(layer: keras.Operation) -> UnknownLayer:
    return UnknownLayer(
        f"The positions of layer {layer.name!r} are unknown: {type(layer).__name__} is not a convolution, pooling, "
        "padding, cropping, resizing or pointwise layer."
    )
