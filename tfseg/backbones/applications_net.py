"""Networks of `keras.applications` by name."""

import functools
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Self

import keras
from pydantic import model_validator

from tfseg.backbones.applications import classifier
from tfseg.backbones.applications_graph import GraphRebuilder, NotDilatable, flat, stable_names
from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.layers import Normalize
from tfseg.spec.declare import Location, spec
from tfseg.spec.messages import nearest
from tfseg.spec.problems import FieldProblem, InvalidFields
from tfseg.symbolic import symbolically
from tfseg.weights import Arrays

CAFFE = {"mean": (103.939, 116.779, 123.68), "reverse": True}
PREPROCESSING: dict[str, dict[str, Any]] = {
    r"ResNet\d+V2|Inception.*|Xception|MobileNet.*": {"mode": "tf"},
    r"ResNet\d+|VGG\d+": CAFFE,
    r"DenseNet\d+|EfficientNetB\d|EfficientNetV2B\d|ConvNeXt.*": {"mode": "torch"},
    r"EfficientNetV2[SML]": {"mean": 128.0, "scale": 1 / 128},
}
"""Preprocessing of pixels 0..255 for the weights of each network, as arguments of `Normalize`. Some networks of
`keras.applications` include it, for others it is in `preprocess_input` of their module."""


def names() -> tuple[str, ...]:
    """Returns the networks of the installed Keras whose preprocessing is known."""
    return tuple(name for name in dir(keras.applications) if any(re.fullmatch(kind, name) for kind in PREPROCESSING))


@spec
class Applications(Backbone):
    """Any network of `keras.applications` without its classifier; stages are selected by stride.

    A stage is the last feature map of its stride that all later layers depend on, and is named after its layer, such as
    `conv3_block4_out` or `block4a_expand_activation`. Layers have the names and the weights of the published network.
    NASNet is not supported, because Keras builds it for a single image size.
    """

    type: Literal["applications"] = "applications"
    name: str
    """Function of `keras.applications`, such as `ResNet50`, `EfficientNetV2B0` or `MobileNetV3Small`."""
    output_stride: Literal[8, 16, 32] = 32
    """Ratio of input to feature resolution; below 32, strides of deeper layers are replaced by dilation. Networks with
    average pools (DenseNet, Inception) support 32 only."""
    weights: Literal["imagenet"] | Location | None = None
    """`imagenet` (downloaded by Keras when training starts), or the path of a weight file: `.h5` of
    `keras.applications` without top, `.npz` (`layer/variable`), a `.keras` model with these layers, or any other file
    that `tfseg import` reads."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if problems := list(self._own_problems()):
            raise InvalidFields(*problems)
        return self

    def _own_problems(self) -> Iterator[FieldProblem]:
        if self.name not in names():
            message = f"not a network of keras.applications{nearest(self.name, names()) or '.'}"
            if self.name.startswith("NASNet") and hasattr(keras.applications, self.name):
                message = "not supported, because Keras builds it for a single image size."
            yield ("name",), f"{message} Received: {self.name}"
            return
        try:
            _layout(self.name, self.output_stride)
        except NotDilatable as error:
            yield ("output_stride",), f"must be 32 for {self.name}: {error}. Received: {self.output_stride}"

    def __call__(self, image: keras.KerasTensor) -> Features:
        channels = image.shape[-1]
        x = Normalize(**preprocessing_of(self.name), name="normalize").for_channels(channels)(image)
        net = GraphRebuilder(self.output_stride)
        net.run(_source(self.name, channels), x)
        stages = net.deepest.items()
        return Features(tuple(Stage(name, min(stride, self.output_stride), x) for stride, (name, x) in stages))

    def _keras_arrays(self, weights: str | Path) -> Arrays:
        published = classifier(_build(self.name), weights, include_top=False, input_shape=(None, None, 3))
        renamed, (_, weighted) = stable_names(published), _layout(self.name, self.output_stride)
        return {
            f"{renamed[layer.name]}/{each.name}": keras.ops.convert_to_numpy(each)
            for layer in flat(published)
            if isinstance(layer, keras.Layer) and renamed[layer.name] in weighted
            for each in layer.weights
        }


def preprocessing_of(name: str) -> dict[str, Any]:
    """Returns the preprocessing for the weights of that network, as arguments of `Normalize`."""
    return next(arguments for kind, arguments in PREPROCESSING.items() if re.fullmatch(kind, name))


def _build(name: str) -> Callable[..., keras.Model]:
    """Returns the function of that name, without its warnings about input shapes."""
    function = getattr(keras.applications, name)

    @functools.wraps(function)
    def quiet(**arguments: Any) -> keras.Model:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input_shape")
            warnings.filterwarnings("ignore", message="This model usually expects")
            return function(**arguments)

    return quiet


@functools.cache
def _source(name: str, channels: int) -> keras.Model:
    """Returns the published network with symbolic weights."""
    arguments = {"weights": None, "include_top": False, "input_shape": (None, None, channels)}
    return symbolically(lambda: _build(name)(**arguments))


@functools.cache
def _layout(name: str, output_stride: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Returns the published strides of the stages, and the names of the layers with weights."""
    net = GraphRebuilder(output_stride)
    symbolically(lambda: net.run(_source(name, 3), keras.Input((None, None, 3))))
    return tuple(net.deepest), tuple(net.weighted)
