"""The graph of a `keras.applications` network, built again on another input, at another output stride.

A map of the published net with stride `j` has stride `min(j, output_stride)` here, and `f = j / min(j, output_stride)`
times as many places in a row. What reads it sees the published places, `f` apart: kernels and pools dilate by `f`,
paddings grow by `f`, means over the map are taken over every `f`-th place. So the net computes what the published one
computes, at more places.
"""

import re
from typing import Any

import keras
from keras import layers as kl

from tfseg.keras_internals import calls_of, producer, readers
from tfseg.layers import AtrousConv2D, AtrousMaxPooling2D
from tfseg.layers.norm import Normalization, check_groups, chosen

CONVOLUTIONS = (kl.Conv2D, kl.DepthwiseConv2D, kl.SeparableConv2D)
MEANS = (kl.GlobalAveragePooling2D, kl.GlobalMaxPooling2D)
PIXELS = (kl.Rescaling, kl.Normalization)
"""What stands before the first convolution of some nets; tfseg brings pixels to their range itself."""

OF_ANY_NORM = (
    "axis", "center", "scale", "beta_initializer", "gamma_initializer", "beta_regularizer", "gamma_regularizer",
)  # fmt: skip
"""What a BatchNorm says of itself that holds for every normalization."""

Named = tuple[str, keras.KerasTensor]
Place = tuple[int | None, keras.KerasTensor]
"""The published stride of a map, None where there is no map any more, and the map as it is built here."""


class Rigid(ValueError):
    """A layer that cannot give up a stride or look at places that are further apart."""


class Rebuilding:
    """One walk through a network, layer by layer.

    Args:
        output_stride: the greatest stride that a map may have.
    """

    def __init__(self, output_stride: int) -> None:
        self.output_stride = output_stride
        self.weighted: list[str] = []
        """The layers that have weights, in order."""
        self._last: dict[int, Named] = {}
        self._necks: dict[int, Named] = {}
        self._names: dict[str, int] = {}
        self._covering: set[str] = set()

    @property
    def deepest(self) -> dict[int, Named]:
        """The last layer of each published stride that everything behind it goes through, and its map.

        Where there is none, as in NASNet, just the last layer.
        """
        return {stride: self._necks.get(stride, last) for stride, last in sorted(self._last.items())}

    def run(self, source: keras.Model, x: keras.KerasTensor) -> None:
        """Builds the layers of `source` on `x`, the image as the net reads it.

        Raises:
            Rigid: a layer cannot be built at this output stride.
        """
        places: dict[int, Place] = {id(source.inputs[0]): (1, x)}
        unread: dict[int, int] = {}
        for operation in source.operations:
            node = calls_of(operation)[0]  # every layer of these nets is called once
            if not node.input_tensors:
                continue
            output = [places[id(tensor)] for tensor in node.input_tensors]
            for layer in _parts(operation):
                output = [self._built(layer, output)]
            places[id(node.output_tensors[0])] = output[0]
            _read(unread, operation)
            self._keep(operation, *output[0], neck=len(unread) == 1)

    def _keep(self, operation: keras.Operation, stride: int | None, x: keras.KerasTensor, neck: bool) -> None:
        if stride is None or stride == 1 or isinstance(operation, (kl.ZeroPadding2D, *PIXELS)):
            return
        name = producer(x)[0].name
        self._last[stride] = (name, x)
        if neck:
            self._necks[stride] = (name, x)

    def _built(self, layer: keras.Operation, inputs: list[Place]) -> Place:
        strides = [stride for stride, _ in inputs if stride is not None]
        stride = max(strides, default=None)
        if isinstance(layer, PIXELS) and not self.weighted:
            return inputs[0]
        if isinstance(layer, kl.ZeroPadding2D) and self._covers(layer):
            return inputs[0]
        x = [tensor for _, tensor in inputs]
        name = self._name(layer)
        if stride is None:
            return None, self._applied(_clone(layer, name), x)
        factor = stride // min(stride, self.output_stride)
        if isinstance(layer, MEANS):
            return None, self._applied(_clone(layer, name), [_thinned(x[0], factor, f"{name}_sample")])
        after = stride * _stride(layer)
        step = min(after, self.output_stride) // min(stride, self.output_stride)
        try:
            clone = self._at(layer, name, factor, step)
        except Rigid as error:
            raise Rigid(f"its layer {name} {error}") from None
        if _patches(layer) and step < _stride(layer):  # each window ends where the next begins: beyond the last, zeros
            border = (0, factor * (_size(layer) - 1))
            x = [kl.ZeroPadding2D((border, border), name=f"{name}_pad")(x[0])]
        return after, self._applied(clone, x)

    def _applied(self, layer: keras.Layer, x: list[keras.KerasTensor]) -> keras.KerasTensor:
        check_groups(layer, x[0].shape[-1])
        output = layer(x[0] if len(x) == 1 else x)
        if layer.weights:
            self.weighted.append(layer.name)
        return output

    def _at(self, layer: keras.Operation, name: str, factor: int, step: int) -> keras.Layer:
        """`layer` on a map of `factor` times the published places, with the stride `step`."""
        if isinstance(layer, CONVOLUTIONS):
            return self._convolution(layer, name, factor, step)
        if isinstance(layer, kl.MaxPooling2D):
            return _max_pooling(layer, name, factor, step)
        if isinstance(layer, kl.AveragePooling2D) and (factor > 1 or step < _stride(layer)):
            raise Rigid("averages over places that would be further apart")
        if isinstance(layer, kl.ZeroPadding2D):
            return _clone(layer, name, padding=[[side * factor for side in pair] for pair in layer.padding])
        if isinstance(layer, kl.BatchNormalization):
            return _normalization(layer, name)
        return _clone(layer, name)

    def _convolution(self, layer: keras.Layer, name: str, factor: int, step: int) -> keras.Layer:
        size, rates = _size(layer), [rate * factor for rate in layer.dilation_rate]
        padding = "same" if layer.name in self._covering else layer.padding
        if step < _stride(layer) and padding == "same" and size % 2 == 0:
            raise Rigid("has an even kernel, which no dilation keeps in its place")
        if size == 1:
            return _clone(layer, name, strides=step)
        return _clone(layer, name, strides=step, dilation_rate=rates, padding=padding)

    def _covers(self, pad: kl.ZeroPadding2D) -> bool:
        """Whether the padding and the strided convolution behind it are one convolution that pads `same`.

        With unknown image sizes, `keras.applications` pads as `same` does for even sizes; odd ones lose a row.
        """
        reader = readers(pad)[0]
        if not isinstance(reader, CONVOLUTIONS) or _stride(reader) == 1:
            return False
        half = _size(reader) // 2
        if tuple(map(tuple, pad.padding)) != ((half - 1, half),) * 2:
            return False
        self._covering.add(reader.name)
        return True

    def _name(self, layer: keras.Operation) -> str:
        """The layer's name; where Keras made it up and counts on, counted within this net."""
        stem = _made_up(layer)
        if stem is None:
            return layer.name
        self._names[stem] = self._names.get(stem, 0) + 1
        return f"{stem}_{self._names[stem]}"


def stable_names(source: keras.Model) -> dict[str, str]:
    """The layers of a `keras.applications` network that have weights, and their names after a rebuilding."""
    names = Rebuilding(32)
    return {layer.name: names._name(layer) for layer in flat(source) if isinstance(layer, keras.Layer)}


def flat(source: keras.Model) -> list[keras.Operation]:
    """The layers of a network, those of a `Sequential` within it too."""
    return [part for operation in source.operations for part in _parts(operation)]


def _parts(operation: keras.Operation) -> list[keras.Operation]:
    return operation.layers if isinstance(operation, keras.Sequential) else [operation]


def _read(unread: dict[int, int], operation: keras.Operation) -> None:
    """Takes what `operation` read off the maps that others still read, and puts what it gives to them."""
    node = calls_of(operation)[0]
    for tensor in {id(tensor) for tensor in node.input_tensors} & set(unread):
        unread[tensor] -= 1
        if unread[tensor] == 0:
            del unread[tensor]
    unread[id(node.output_tensors[0])] = len(readers(operation))


def _made_up(layer: keras.Operation) -> str | None:
    """The name that Keras gives to the class of `layer`, if the layer is called so, with or without a number."""
    snake = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    snake = re.sub("([a-z])([A-Z])", r"\1_\2", snake).lower()
    return snake if re.fullmatch(rf"{snake}(_\d+)?", layer.name) else None


def _clone(layer: keras.Operation, name: str, **changes: Any) -> keras.Layer:
    """A new layer like `layer`; sums and products that are bare operations become layers."""
    if not isinstance(layer, keras.Layer):
        return _as_layer(layer, name)
    config = {**layer.get_config(), "name": name, **changes}
    config.pop("dtype")  # the policy of this moment
    kind = AtrousConv2D if type(layer) is kl.Conv2D and _size(layer) > 1 else type(layer)
    return kind.from_config(config)


def _normalization(layer: kl.BatchNormalization, name: str) -> keras.Layer:
    """What stands for a BatchNorm of the published net: one like it, or the choice of the model that is built."""
    choice = chosen(epsilon=layer.epsilon)
    if choice["norm"] == "batch":
        return _clone(layer, name, momentum=choice["momentum"], epsilon=choice["epsilon"])
    config = layer.get_config()
    return Normalization(**choice).layer(name=name, **{key: config[key] for key in OF_ANY_NORM})


def _as_layer(operation: keras.Operation, name: str) -> keras.Layer:
    arguments = calls_of(operation)[0].arguments.args
    numbers = [float(each) for each in arguments if not isinstance(each, keras.KerasTensor)]
    kind = type(operation).__name__
    if kind in ("Add", "Multiply") and not numbers:
        return kl.Add(name=name) if kind == "Add" else kl.Multiply(name=name)
    if kind in ("Add", "Multiply"):
        return kl.Rescaling(1.0, numbers[0], name=name) if kind == "Add" else kl.Rescaling(numbers[0], name=name)
    raise Rigid(f"is a bare operation {kind}, which no layer stands for")


def _max_pooling(layer: kl.MaxPooling2D, name: str, factor: int, step: int) -> keras.Layer:
    size = layer.pool_size[0]
    if (factor == 1 and step == _stride(layer)) or size == 1:
        return _clone(layer, name, strides=step)
    if layer.padding == "valid" and size > _stride(layer):
        raise Rigid("pools without padding")
    return AtrousMaxPooling2D(size, factor, "same" if layer.padding == "same" else 0, name=name)


def _thinned(x: keras.KerasTensor, factor: int, name: str) -> keras.KerasTensor:
    return x if factor == 1 else kl.MaxPooling2D(1, factor, name=name)(x)


def _size(layer: keras.Operation) -> int:
    sizes = layer.pool_size if isinstance(layer, (kl.MaxPooling2D, kl.AveragePooling2D)) else layer.kernel_size
    return int(max(sizes))


def _stride(layer: keras.Operation) -> int:
    return int(max(getattr(layer, "strides", (1,))))


def _patches(layer: keras.Operation) -> bool:
    return isinstance(layer, kl.Conv2D) and layer.padding == "valid" and _size(layer) == _stride(layer) > 1
