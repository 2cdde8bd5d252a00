"""Where the places of a tensor lie in the image, and how much of the image they see: read off a Functional graph.

Place `i` of a tensor lies at image pixel `j` where `i = scale * j + offset`; every layer says how it changes that.
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
"""Unpooling spreads a value over the window that it came from, as a transposed convolution of that window does."""
IN_PLACE = (
    kl.Activation, kl.ReLU, kl.LeakyReLU, kl.PReLU, kl.ELU, kl.Softmax, kl.BatchNormalization, kl.LayerNormalization,
    kl.GroupNormalization, kl.Dropout, kl.SpatialDropout2D, kl.GaussianNoise, kl.Rescaling, kl.Identity,
    kl.Add, kl.Subtract, kl.Multiply, kl.Average, kl.Maximum, kl.Minimum, kl.Concatenate,
    tl.Normalize, tl.FixedScale, tl.PadToSize, tl.LocalResponseNormalization,
    tl.PadToGrid, tl.CrfRnn,
)  # fmt: skip
"""Layers that leave every value, or every sum of values, where it was."""
COMPOSITES = (
    tl.AtrousSpatialPyramidPooling, tl.ParallelAtrousClassifier, tl.DilatedContext, tl.PyramidPooling,
    tl.AttentionToScale,
)  # fmt: skip
"""Layers made of others that keep the grid of their input and say how much of it they see."""


class NoCoordinates(ValueError):
    """A layer whose outputs have no fixed place in the image, or a kind of layer that is not known here."""


class Unbounded(NoCoordinates):
    """A layer that sees the whole image."""


class SizeDependent(NoCoordinates):
    """A layer that samples its input elsewhere at one size of it than at another."""


class UnknownLayer(NoCoordinates):
    """A kind of layer that is not known here."""


def coordinate_map(tensor: keras.KerasTensor, axis: int = 0) -> CoordinateMap:
    """How the places of `tensor` along `axis` (0: height, 1: width) follow from image pixels.

    Raises:
        NoCoordinates: a layer on the way has no fixed places, or two inputs of one layer lie on different grids.
    """
    return fold(tensor, lambda layer, inputs: mapped(layer, inputs, axis), CoordinateMap())


def receptive_field(tensor: keras.KerasTensor, axis: int = 0) -> ReceptiveField:
    """How many image pixels one place of `tensor` sees, and how far apart two places are.

    Raises:
        NoCoordinates: a layer on the way is of a kind that is not known here.
    """
    return fold(tensor, lambda layer, inputs: seen(layer, inputs, axis), ReceptiveField())


def offset(x: keras.KerasTensor, reference: keras.KerasTensor) -> int:
    """Where `x` has to be cut for its places to lie on those of `reference`; negative where `reference` must be cut.

    Raises:
        NoCoordinates: one of them has no fixed places.
        ValueError: their places do not fall together.
    """
    height, width = (crop_offset(coordinate_map(x, axis), coordinate_map(reference, axis)) for axis in (0, 1))
    if height != width:
        raise ValueError(f"A crop has one offset for both directions. Received: height={height}, width={width}")
    return height


def fold(tensor: keras.KerasTensor, rule: Callable[[keras.Operation, list[T]], T], start: T) -> T:
    """What `rule(layer, values of its inputs)` gives for `tensor`, from `start` at the model's inputs down."""
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
    """What a convolution or a pool looks at along one axis."""

    size: int
    stride: int
    padding: str | int

    @property
    def before(self) -> int | None:
        """The padding before the first pixel; None where it depends on the size of the map.

        `same` pads so that `ceil(n / stride)` windows fit, the greater half behind.
        """
        if isinstance(self.padding, int):
            return self.padding
        if self.padding == "valid":
            return 0
        rests = [self.stride, *range(1, self.stride)]  # n % stride, where 0 counts as a whole stride
        befores = {max(self.size - rest, 0) // 2 for rest in rests}
        return befores.pop() if len(befores) == 1 else None


def window(layer: keras.Operation, axis: int) -> Window | None:
    """The window of a convolution, transposed or not, or of a pool; None for another layer."""
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


def mapped(layer: keras.Operation, inputs: list[CoordinateMap], axis: int) -> CoordinateMap:
    """The coordinate map of a layer's output from those of its inputs."""
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
    look = window(layer, axis)
    if look is not None:
        return inputs[0].then(_window_map(layer, look))
    if not isinstance(layer, (*IN_PLACE, *COMPOSITES)):
        raise _unknown(layer)
    if any(each != inputs[0] for each in inputs):
        raise NoCoordinates(f"The inputs of layer {layer.name!r} do not lie on one grid. Received: {inputs}")
    return inputs[0]


def _window_map(layer: keras.Operation, look: Window) -> CoordinateMap:
    if isinstance(layer, TRANSPOSED):
        return deconv_map(look.size, look.stride, 0 if look.padding == "valid" else (look.size - look.stride) // 2)
    if look.before is None:
        raise SizeDependent(
            f"Where layer {layer.name!r} samples its input depends on the image's size: padding='same' with stride "
            f"{look.stride} and a window of {look.size} pads before the first pixel at some sizes only."
        )
    return conv_map(look.size, look.stride, look.before)


def seen(layer: keras.Operation, inputs: list[ReceptiveField], axis: int) -> ReceptiveField:
    """The receptive field of a layer's output from those of its inputs."""
    x = max(inputs, key=lambda field: field.size)
    if isinstance(layer, (tl.ResizeLike, tl.ZoomLike)):
        return ReceptiveField(inputs[0].size + inputs[0].jump, inputs[1].jump)  # between two places of its input
    if isinstance(layer, kl.UpSampling2D):
        between = x.jump if layer.interpolation == "bilinear" else 0
        return ReceptiveField(x.size + between, x.jump / layer.size[axis])
    if isinstance(layer, (tl.CropLike, tl.MirrorPadding2D, tl.ResizeBy)):
        return inputs[0]  # of an image that was resized: in its own pixels
    if isinstance(layer, tl.CrfRnn):
        raise Unbounded(f"Layer {layer.name!r} sees the whole image: {type(layer).__name__} compares all pixels.")
    if isinstance(layer, (kl.GlobalAveragePooling2D, kl.GlobalMaxPooling2D)):
        raise Unbounded(f"Layer {layer.name!r} sees the whole image: {type(layer).__name__} pools all of it.")
    if isinstance(layer, COMPOSITES):
        if layer.receptive_field is None:
            raise Unbounded(f"Layer {layer.name!r} sees the whole image: {type(layer).__name__} takes its mean.")
        return x.then(layer.receptive_field)
    look = window(layer, axis)
    if look is not None and isinstance(layer, TRANSPOSED):
        overlapping = -(-look.size // look.stride)  # inputs that one place of the output is made of, at most
        return ReceptiveField(x.size + (overlapping - 1) * x.jump, x.jump / look.stride)
    if look is not None:
        return x.then(look.size, look.stride)
    if not isinstance(layer, (*IN_PLACE, kl.ZeroPadding2D)):
        raise _unknown(layer)
    return x


def _unknown(layer: keras.Operation) -> UnknownLayer:
    return UnknownLayer(
        f"The places of layer {layer.name!r} are not known: {type(layer).__name__} is no convolution, pool, padding, "
        "crop, resize or layer that works place by place."
    )
