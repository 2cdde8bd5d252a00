"""Layers of graph networks: one spec per layer, derived from the layer's constructor."""

import functools
import inspect
import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import keras
from keras import layers as kl
from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from tfseg import layers as tl
from tfseg.errors import one_line
from tfseg.spec.declare import Slot, spec
from tfseg.spec.messages import listed, nearest
from tfseg.spec.problems import InvalidFields

KERAS = (
    kl.Activation, kl.Add, kl.Average, kl.AveragePooling2D, kl.Concatenate, kl.Conv2D,
    kl.Conv2DTranspose, kl.DepthwiseConv2D, kl.Dropout, kl.ELU, kl.GaussianNoise, kl.GlobalAveragePooling2D,
    kl.GlobalMaxPooling2D, kl.GroupNormalization, kl.LayerNormalization, kl.LeakyReLU, kl.MaxPooling2D, kl.Maximum,
    kl.Minimum, kl.Multiply, kl.PReLU, kl.ReLU, kl.Rescaling, kl.SeparableConv2D, kl.Softmax, kl.SpatialDropout2D,
    kl.Subtract, kl.UpSampling2D, kl.ZeroPadding2D,
)  # fmt: skip
TFSEG = tuple(getattr(tl, name) for name in tl.__all__)

CLASSES = "${classes}"
"""Placeholder for the number of classes in any argument of a layer."""
IMAGE = "image"
"""Name of the network's input."""

Scalar = bool | int | float | str | None
Argument = Scalar | tuple[Scalar | tuple[Scalar, ...], ...] | dict[str, Scalar]
"""Type of a layer argument. A mapping like `{type: random_normal, stddev: 0.01}` is an initializer, regularizer or
constraint with its arguments."""
Shape = tuple[int | None, ...]


class Node:
    """Named layer with its inputs and the arguments of its constructor."""

    LAYER: ClassVar[type[keras.Layer]]
    DEFAULTS: ClassVar[dict[str, Any]]
    name: str
    inputs: str | tuple[str, ...] | None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the layer's outputs; a layer with several outputs lists them in `OUTPUTS`."""
        return getattr(self.LAYER, "OUTPUTS", ("output",))

    def make(self, classes: int) -> keras.Layer:
        """Returns a new instance of the layer."""
        given = {name: getattr(self, name) for name, default in self.DEFAULTS.items() if getattr(self, name) != default}
        resolved = {name: classes if value == CLASSES else _keras(value) for name, value in given.items()}
        return self.LAYER(name=self.name, **resolved)

    def sources(self, previous: str) -> tuple[str, ...]:
        """Returns the names of the layer's inputs; `previous` is the default."""
        if self.inputs is None:
            return (previous,)
        return (self.inputs,) if isinstance(self.inputs, str) else self.inputs

    @model_validator(mode="after")
    def _makes_a_layer(self) -> Self:
        try:
            config = self.make(classes=2).get_config()
        except Exception as error:  # a constructor can raise anything on a wrong argument
            reason = one_line(error)
            raise ValueError(f"{self.LAYER.__name__} rejected these arguments: {reason}") from error
        by_keras = self.LAYER.__module__.startswith("keras.")  # older Keras versions omit default values
        if missing := [name for name in self.DEFAULTS if not by_keras and name not in (*config, "trainable")]:
            raise ValueError(f"{self.LAYER.__name__} cannot be reloaded: its get_config lacks {listed(missing)}")
        return self


def _keras(argument: Argument) -> Any:
    """Returns `argument` as a constructor takes it; a mapping becomes a serialized Keras object."""
    if not isinstance(argument, dict):
        return argument
    return {
        "class_name": argument.get("type"),
        "config": {key: each for key, each in argument.items() if key != "type"},
    }


def word(layer: type[keras.Layer]) -> str:
    """Returns the name of a layer type in a file, such as `bilinear_conv_transpose` for BilinearConv2DTranspose."""
    name = layer.__name__.replace("2D", "").replace("2d", "").replace("PReLU", "Prelu").replace("ReLU", "Relu")
    return "_".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", name)).lower()


@functools.cache  # equal specs need the same class
def node(layer: type[keras.Layer]) -> type[Node]:
    """Returns the spec of `layer`: its name in the graph, its inputs, and the arguments of its constructor."""
    arguments = _arguments(layer)
    defaults = {name: parameter.default for name, parameter in arguments.items()}
    body: dict[str, Any] = {
        "__doc__": (inspect.getdoc(layer) or layer.__name__).partition("\n")[0],
        "__module__": __name__,
        "__annotations__": _annotations(layer, arguments),
        "LAYER": layer,
        "DEFAULTS": defaults,
        "inputs": None,
        **{name: default for name, default in defaults.items() if default is not inspect.Parameter.empty},
    }
    return spec(type(f"{layer.__name__}Node", (Node,), body), docstrings=False)


def _arguments(layer: type[keras.Layer]) -> dict[str, inspect.Parameter]:
    """Returns `trainable` and the constructor's own parameters except `name`, `dtype` and `data_format`."""
    bare = layer.__init__ is kl.Layer.__init__  # the base constructor has no arguments specific to the layer
    own = {} if bare else dict(list(inspect.signature(layer.__init__).parameters.items())[1:])
    trainable = inspect.signature(kl.Layer.__init__).parameters["trainable"]
    kept = {name: each for name, each in own.items() if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
    skipped = ("name", "dtype", "data_format")
    return {name: each for name, each in {"trainable": trainable, **kept}.items() if name not in skipped}


def layer_problem(layer: type[keras.Layer]) -> str | None:
    """Returns why a custom layer cannot be used in a file, or None."""
    own = {name: each.default for name, each in _arguments(layer).items() if name != "trainable"}
    for name, default in own.items():
        if default is not inspect.Parameter.empty and not _is_argument(default):
            return (
                f"has the argument {name}, whose default cannot be written in a file; expected a number, a string, a "
                f"list of these or a mapping. Received: {default!r}"
            )
    if not word(layer):
        return "has no capital letter in its name, from which its name in a file is derived; name it in CamelCase"
    if layer.__module__.startswith("keras."):
        return None
    if own and layer.get_config is keras.Layer.get_config:
        return f"has no get_config, which a saved network needs to restore its arguments; return {listed(own)} from it"
    if keras.saving.get_registered_object(keras.saving.get_registered_name(layer)) is not layer:
        return (
            "is not registered, which loading a saved network requires; decorate it with "
            '@keras.saving.register_keras_serializable(package="…")'
        )
    return None


def _is_argument(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and isinstance(each, Scalar) for key, each in value.items())
    return isinstance(value, Scalar) or (isinstance(value, tuple) and all(map(_is_argument, value)))


def _annotations(layer: type[keras.Layer], arguments: dict[str, inspect.Parameter]) -> dict[str, Any]:
    def described(annotation: Any, text: str) -> Any:
        return Annotated[annotation, Field(description=text)]

    return {
        "LAYER": ClassVar[type[keras.Layer]],
        "DEFAULTS": ClassVar[dict[str, Any]],
        "layer": described(Literal[word(layer)], f"Layer type: {layer.__name__}."),
        "name": described(Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$")], "Unique name of the layer."),
        "inputs": described(
            Annotated[str, Field(min_length=1)] | Annotated[tuple[str, ...], Field(min_length=1)] | None,
            "Names of the input layers, or image; null for the preceding layer. If a layer has several "
            "outputs, each is named name.output, such as pool5.indices.",
        ),
        **{name: described(Argument, f"Argument {name} of {layer.__name__}.") for name in arguments},
    }


class ByLayer(Slot):
    """Marks a list item whose key `layer` selects the spec.

    Args:
        layers: Layer classes; custom ones come from `COMPONENTS`.
    """

    WANTED = "Keras layers"

    def __init__(self, layers: Sequence[type[keras.Layer]]) -> None:
        self.layers = tuple(layers)
        self.nodes = {word(layer): node(layer) for layer in sorted(self.layers, key=word)}  # type: ignore[arg-type]
        """Specs of the layers, by their names in a file."""

    def members(self, annotation: Any) -> tuple[type, ...]:
        return tuple(each.LAYER for each in self.nodes.values())

    def word(self, member: type) -> str:
        return word(member)

    def takes(self, member: Any) -> bool:
        return isinstance(member, type) and issubclass(member, keras.Layer)

    def refusal(self, member: type) -> str | None:
        return layer_problem(member)

    def opened(self, annotation: Any, added: tuple[type, ...]) -> tuple[Any, Slot]:
        self.check_words(self.layers, added)
        more = tuple(layer for layer in added if layer not in self.layers)
        return annotation, ByLayer((*self.layers, *more)) if more else self

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(member) for name, member in self.nodes.items()}
        tagged = core_schema.tagged_union_schema(choices, _layer)
        return core_schema.no_info_before_validator_function(self._checked, tagged)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(choice) for choice in schema["schema"]["choices"].values()]}

    def _checked(self, value: Any) -> Any:
        if not isinstance(value, dict | Node):
            raise ValueError(f"expected a mapping with the keys name and layer. Received: {value!r}")
        if not isinstance(name := _layer(value), str) or name not in self.nodes:
            expected = f"expected a layer{nearest(name, self.nodes)}; layers: {listed(self.nodes)}"
            raise InvalidFields((("layer",), f"{expected}. Received: {name!r}"))
        return value


def _layer(value: Any) -> Any:
    return value.get("layer") if isinstance(value, dict) else getattr(value, "layer", None)


LAYERS = ByLayer((*KERAS, *TFSEG))
NODES: dict[str, type[Node]] = LAYERS.nodes
"""Specs of the built-in layers, by their names in a file."""

AnyNode = Annotated[Node, LAYERS]


def output_shapes(layer: keras.Layer, inputs: Sequence[Shape | None], outputs: int) -> tuple[Shape | None, ...]:
    """Returns the shapes of the layer's outputs without building its weights; None where unknown."""
    unknown = (None,) * outputs
    if None in inputs:
        return unknown
    try:
        found = layer.compute_output_shape(inputs[0] if len(inputs) == 1 else list(inputs))
    except NotImplementedError:
        return unknown
    shapes = [found] if outputs == 1 else found
    return tuple(tuple(each) if _plain(each) else None for each in shapes)


def _plain(shape: Any) -> bool:
    return all(size is None or isinstance(size, int) for size in shape)
