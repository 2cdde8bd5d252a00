"""Rebuilds the graph of a `keras.applications` network on another input, at another output stride.

A feature map of stride `j` in the published network has stride `min(j, output_stride)` here, and is larger by the
factor `f = j / min(j, output_stride)`. Every `f`-th position of it is a position of the published feature map, so
convolutions and pools dilate by `f`, zero paddings are multiplied by `f`, and global pools use every `f`-th position.
The network thus computes the same values as the published one, at more positions.
"""

import re
from typing import Any

import keras
from keras import layers as kl

from tfseg.keras_internals import calls_of, producer, readers
from tfseg.layers import AtrousConv2D, AtrousMaxPooling2D, BatchNormalization
from tfseg.layers.norm import Normalization, check_groups, chosen

CONVOLUTIONS = (kl.Conv2D, kl.DepthwiseConv2D, kl.SeparableConv2D)
GLOBAL_POOLS = (kl.GlobalAveragePooling2D, kl.GlobalMaxPooling2D)
PREPROCESSING = (kl.Rescaling, kl.Normalization)
"""Preprocessing layers of some networks, which are left out because tfseg has its own."""

SHARED_NORM_ARGUMENTS = (
    "axis", "center", "scale", "beta_initializer", "gamma_initializer", "beta_regularizer", "gamma_regularizer",
)  # fmt: skip
"""Arguments of BatchNorm that other normalization layers share."""

Named = tuple[str, keras.KerasTensor]
Strided = tuple[int | None, keras.KerasTensor]
"""Stride of a tensor in the published network, None after global pooling, and the tensor in the rebuilt network."""


class NotDilatable(ValueError):
    """Raised for a layer that cannot be rebuilt at the output stride, or an operation without an equivalent layer."""


class GraphRebuilder:
    """Rebuilds a network layer by layer.

    Args:
        output_stride: Largest stride of a feature map.
    """

    def __init__(self, output_stride: int) -> None:
        self.output_stride = output_stride
        self.weighted: list[str] = []
        """Names of the layers with weights, in order."""
        self._last: dict[int, Named] = {}
        self._bottlenecks: dict[int, Named] = {}
        self._names: dict[str, int] = {}
        self._same_padded: set[str] = set()

    @property
    def deepest(self) -> dict[int, Named]:
        """Last layer of each published stride that all later layers depend on, and its feature map.

        If there is no such layer, the last layer of that stride.
        """
        return {stride: self._bottlenecks.get(stride, last) for stride, last in sorted(self._last.items())}

    def run(self, source: keras.Model, x: keras.KerasTensor) -> None:
        """Builds the layers of `source` on `x`, the preprocessed image.

        Raises:
            NotDilatable: If a layer cannot be built at this output stride.
        """
        tensors: dict[int, Strided] = {id(source.inputs[0]): (1, x)}
        unread: dict[int, int] = {}
        for operation in source.operations:
            node = calls_of(operation)[0]  # every layer of these networks is called once
            if not node.input_tensors:
                continue
            output = [tensors[id(tensor)] for tensor in node.input_tensors]
            for layer in _flattened(operation):
                output = [self._built(layer, output)]
            tensors[id(node.output_tensors[0])] = output[0]
            _update_unread(unread, operation)
            self._keep(operation, *output[0], bottleneck=len(unread) == 1)

    def _keep(self, operation: keras.Operation, stride: int | None, x: keras.KerasTensor, bottleneck: bool) -> None:
        if stride is None or stride == 1 or isinstance(operation, (kl.ZeroPadding2D, *PREPROCESSING)):
            return
        name = producer(x)[0].name
        self._last[stride] = (name, x)
        if bottleneck:
            self._bottlenecks[stride] = (name, x)

    def _built(self, layer: keras.Operation, inputs: list[Strided]) -> Strided:
        strides = [stride for stride, _ in inputs if stride is not None]
        stride = max(strides, default=None)
        if isinstance(layer, PREPROCESSING) and not self.weighted:
            return inputs[0]
        if isinstance(layer, kl.ZeroPadding2D) and self._equals_same_padding(layer):
            return inputs[0]
        x = [tensor for _, tensor in inputs]
        name = self._name(layer)
        if stride is None:
            return None, self._applied(_clone(layer, name), x)
        factor = stride // min(stride, self.output_stride)
        if isinstance(layer, GLOBAL_POOLS):
            return None, self._applied(_clone(layer, name), [_subsampled(x[0], factor, f"{name}_sample")])
        after = stride * _stride(layer)
        step = min(after, self.output_stride) // min(stride, self.output_stride)
        try:
            clone = self._dilated(layer, name, factor, step)
        except NotDilatable as error:
            raise NotDilatable(f"its layer {name} {error}") from None
        if _has_adjacent_windows(layer) and step < _stride(layer):  # no overlap: pad bottom and right
            border = (0, factor * (_size(layer) - 1))
            x = [kl.ZeroPadding2D((border, border), name=f"{name}_pad")(x[0])]
        return after, self._applied(clone, x)

    def _applied(self, layer: keras.Layer, x: list[keras.KerasTensor]) -> keras.KerasTensor:
        check_groups(layer, x[0].shape[-1])
        output = layer(x[0] if len(x) == 1 else x)
        if layer.weights:
            self.weighted.append(layer.name)
        return output

    def _dilated(self, layer: keras.Operation, name: str, factor: int, step: int) -> keras.Layer:
        """Returns `layer` for an input that is larger by `factor` than in the published network, with stride `step`."""
        if isinstance(layer, CONVOLUTIONS):
            return self._convolution(layer, name, factor, step)
        if isinstance(layer, kl.MaxPooling2D):
            return _max_pooling(layer, name, factor, step)
        if isinstance(layer, kl.AveragePooling2D) and (factor > 1 or step < _stride(layer)):
            raise NotDilatable("is an average pool, which cannot be dilated")
        if isinstance(layer, kl.ZeroPadding2D):
            return _clone(layer, name, padding=[[side * factor for side in pair] for pair in layer.padding])
        if isinstance(layer, kl.BatchNormalization):
            return _normalization(layer, name)
        return _clone(layer, name)

    def _convolution(self, layer: keras.Layer, name: str, factor: int, step: int) -> keras.Layer:
        size, rates = _size(layer), [rate * factor for rate in layer.dilation_rate]
        padding = "same" if layer.name in self._same_padded else layer.padding
        if step < _stride(layer) and padding == "same" and size % 2 == 0:
            raise NotDilatable("has an even kernel, which dilation would shift")
        if size == 1:
            return _clone(layer, name, strides=step)
        return _clone(layer, name, strides=step, dilation_rate=rates, padding=padding)

    def _equals_same_padding(self, pad: kl.ZeroPadding2D) -> bool:
        """Returns whether the padding and the strided convolution after it equal a convolution with `same` padding.

        For unknown image sizes, `keras.applications` pads as `same` does for even sizes; at odd sizes, its
        output is one row or column smaller than with `same`.
        """
        reader = readers(pad)[0]
        if not isinstance(reader, CONVOLUTIONS) or _stride(reader) == 1:
            return False
        half = _size(reader) // 2
        if tuple(map(tuple, pad.padding)) != ((half - 1, half),) * 2:
            return False
        self._same_padded.add(reader.name)
        return True

    def _name(self, layer: keras.Operation) -> str:
        """Returns the name of the layer, with automatic names of Keras counted within this network."""
        stem = _automatic_stem(layer)
        if stem is None:
            return layer.name
        self._names[stem] = self._names.get(stem, 0) + 1
        return f"{stem}_{self._names[stem]}"


def stable_names(source: keras.Model) -> dict[str, str]:
    """Returns the names of the layers of a `keras.applications` network, mapped to those in the rebuilt network."""
    names = GraphRebuilder(32)
    return {layer.name: names._name(layer) for layer in flat(source) if isinstance(layer, keras.Layer)}


def flat(source: keras.Model) -> list[keras.Operation]:
    """Returns the layers of a network, including those of a nested `Sequential`."""
    return [part for operation in source.operations for part in _flattened(operation)]


def _flattened(operation: keras.Operation) -> list[keras.Operation]:
    return operation.layers if isinstance(operation, keras.Sequential) else [operation]


def _update_unread(unread: dict[int, int], operation: keras.Operation) -> None:
    """Updates the number of remaining readers of each tensor after `operation`."""
    node = calls_of(operation)[0]
    for tensor in {id(tensor) for tensor in node.input_tensors} & set(unread):
        unread[tensor] -= 1
        if unread[tensor] == 0:
            del unread[tensor]
    unread[id(node.output_tensors[0])] = len(readers(operation))


def _automatic_stem(layer: keras.Operation) -> str | None:
    """Returns the automatic name that Keras gives to the class of `layer`, or None if the layer has another name."""
    snake = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    snake = re.sub("([a-z])([A-Z])", r"\1_\2", snake).lower()
    return snake if re.fullmatch(rf"{snake}(_\d+)?", layer.name) else None


def _clone(layer: keras.Operation, name: str, **changes: Any) -> keras.Layer:
    """Returns a copy of `layer` with another name; additions and multiplications of Keras ops become layers."""
    if not isinstance(layer, keras.Layer):
        return _as_layer(layer, name)
    config = {**layer.get_config(), "name": name, **changes}
    config.pop("dtype")  # use the current dtype policy
    return _kind(layer).from_config(config)


def _kind(layer: keras.Layer) -> type[keras.Layer]:
    """Returns the class of the copy: that of tfseg where it computes the same faster."""
    if type(layer) is kl.Conv2D and _size(layer) > 1:
        return AtrousConv2D
    return BatchNormalization if type(layer) is kl.BatchNormalization else type(layer)


def _normalization(layer: kl.BatchNormalization, name: str) -> keras.Layer:
    """Returns the layer that replaces a BatchNorm of the published network: the one that `model.norm` selects."""
    choice = chosen(epsilon=layer.epsilon)
    if choice["norm"] == "batch":
        return _clone(layer, name, momentum=choice["momentum"], epsilon=choice["epsilon"])
    config = layer.get_config()
    return Normalization(**choice).layer(name=name, **{key: config[key] for key in SHARED_NORM_ARGUMENTS})


def _as_layer(operation: keras.Operation, name: str) -> keras.Layer:
    arguments = calls_of(operation)[0].arguments.args
    numbers = [float(each) for each in arguments if not isinstance(each, keras.KerasTensor)]
    kind = type(operation).__name__
    if kind in ("Add", "Multiply") and not numbers:
        return kl.Add(name=name) if kind == "Add" else kl.Multiply(name=name)
    if kind in ("Add", "Multiply"):
        return kl.Rescaling(1.0, numbers[0], name=name) if kind == "Add" else kl.Rescaling(numbers[0], name=name)
    raise NotDilatable(f"is the operation {kind}, which has no equivalent layer")


def _max_pooling(layer: kl.MaxPooling2D, name: str, factor: int, step: int) -> keras.Layer:
    size = layer.pool_size[0]
    if (factor == 1 and step == _stride(layer)) or size == 1:
        return _clone(layer, name, strides=step)
    if layer.padding == "valid" and size > _stride(layer):
        raise NotDilatable("is an overlapping max pool without padding")
    return AtrousMaxPooling2D(size, factor, "same" if layer.padding == "same" else 0, name=name)


def _subsampled(x: keras.KerasTensor, factor: int, name: str) -> keras.KerasTensor:
    return x if factor == 1 else kl.MaxPooling2D(1, factor, name=name)(x)


def _size(layer: keras.Operation) -> int:
    sizes = layer.pool_size if isinstance(layer, (kl.MaxPooling2D, kl.AveragePooling2D)) else layer.kernel_size
    return int(max(sizes))


def _stride(layer: keras.Operation) -> int:
    return int(max(getattr(layer, "strides", (1,))))


def _has_adjacent_windows(layer: keras.Operation) -> bool:
    return isinstance(layer, kl.Conv2D) and layer.padding == "valid" and _size(layer) == _stride(layer) > 1
