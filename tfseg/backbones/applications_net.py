"""Any network of `keras.applications`, by its name."""

import functools
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Self

import keras
from pydantic import model_validator

from tfseg.backbones.applications import classifier, imagenet_problems
from tfseg.backbones.applications_graph import Rebuilding, Rigid, flat, stable_names
from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.context import Context
from tfseg.layers import Normalize
from tfseg.spec.declare import Location, spec
from tfseg.spec.messages import nearest
from tfseg.spec.problems import FieldProblem, InvalidFields
from tfseg.symbolic import symbolically
from tfseg.weights import Arrays

CAFFE = {"mean": (103.939, 116.779, 123.68), "reverse": True}
PIXELS: dict[str, dict[str, Any]] = {
    r"ResNet\d+V2|Inception.*|Xception|MobileNet.*": {"mode": "tf"},
    r"ResNet\d+|VGG\d+": CAFFE,
    r"DenseNet\d+|EfficientNetB\d|EfficientNetV2B\d|ConvNeXt.*": {"mode": "torch"},
    r"EfficientNetV2[SML]": {"mean": 128.0, "scale": 1 / 128},
}
"""What the weights of each network expect of pixels of 0 to 255, as arguments of `Normalize`. Some nets of
`keras.applications` do this inside, for others it is their module's `preprocess_input`."""


def names() -> tuple[str, ...]:
    """The networks of the installed Keras whose pixels are known here."""
    return tuple(name for name in dir(keras.applications) if any(re.fullmatch(kind, name) for kind in PIXELS))


@spec
class Applications(Backbone):
    """Any network of `keras.applications` without its classifier, its stages found by their strides.

    A stage is the last map of its stride that everything behind goes through, called as its layer is:
    `conv3_block4_out`, `block4a_expand_activation`. The layers have the names and the weights of the published ones.
    NASNet is left out: Keras builds it for images of one size.
    """

    type: Literal["applications"] = "applications"
    name: str
    """`ResNet50`, `EfficientNetV2B0`, `MobileNetV3Small`, …: a function of `keras.applications`."""
    output_stride: Literal[8, 16, 32] = 32
    """Image pixels between two places of the deepest stage; below 32, layers dilate instead of halving the map. Nets
    that average over windows (DenseNet, Inception) only have 32."""
    weights: Literal["imagenet"] | Location | None = None
    """`imagenet` (fetched by Keras when training starts), or a file: `.h5` of `keras.applications` without top, `.npz`
    (`layer/variable`), a `.keras` model that has these layers, or whatever else `tfseg import` reads."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if problems := list(self._own_problems()):
            raise InvalidFields(*problems)
        return self

    def _own_problems(self) -> Iterator[FieldProblem]:
        if self.name not in names():
            close = nearest(self.name, names()) or "."
            if self.name.startswith("NASNet") and hasattr(keras.applications, self.name):
                close = " for images of any size: Keras builds it for one size."
            yield ("name",), f"no network of keras.applications{close} Received: {self.name}"
            return
        try:
            _layout(self.name, self.output_stride)
        except Rigid as error:
            yield ("output_stride",), f"{self.name} has 32 only: {error}. Received: {self.output_stride}"

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from reading the images of the context, each as (path, message)."""
        yield from imagenet_problems(self.weights, context.channels)

    def __call__(self, image: keras.KerasTensor) -> Features:
        channels = image.shape[-1]
        x = Normalize(**pixels_of(self.name) if channels == 3 else {"mode": "tf"}, name="normalize")(image)
        net = Rebuilding(self.output_stride)
        net.run(_source(self.name, channels), x)
        found = net.deepest.items()
        return Features(tuple(Stage(name, min(stride, self.output_stride), x) for stride, (name, x) in found))

    def _keras_arrays(self, weights: str | Path) -> Arrays:
        published = classifier(_build(self.name), weights, include_top=False, input_shape=(None, None, 3))
        renamed, (_, weighted) = stable_names(published), _layout(self.name, self.output_stride)
        return {
            f"{renamed[layer.name]}/{each.name}": keras.ops.convert_to_numpy(each)
            for layer in flat(published)
            if isinstance(layer, keras.Layer) and renamed[layer.name] in weighted
            for each in layer.weights
        }


def pixels_of(name: str) -> dict[str, Any]:
    """What the weights of that network expect of pixels, as arguments of `Normalize`."""
    return next(arguments for kind, arguments in PIXELS.items() if re.fullmatch(kind, name))


def _build(name: str) -> Callable[..., keras.Model]:
    """The function of that name, which says nothing about sizes of which it has no weights."""
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
    """The published network, its layers and no weights."""
    arguments = {"weights": None, "include_top": False, "input_shape": (None, None, channels)}
    return symbolically(lambda: _build(name)(**arguments))


@functools.cache
def _layout(name: str, output_stride: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The published strides of its stages, and the names of its layers that have weights."""
    net = Rebuilding(output_stride)
    symbolically(lambda: net.run(_source(name, 3), keras.Input((None, None, 3))))
    return tuple(net.deepest), tuple(net.weighted)
