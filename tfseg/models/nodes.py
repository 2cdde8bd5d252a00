"""The layers of the graph level: one spec for each, derived from the constructor of the layer."""

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
    kl.Activation, kl.Add, kl.Average, kl.AveragePooling2D, kl.BatchNormalization, kl.Concatenate, kl.Conv2D,
    kl.Conv2DTranspose, kl.DepthwiseConv2D, kl.Dropout, kl.ELU, kl.GaussianNoise, kl.GlobalAveragePooling2D,
    kl.GlobalMaxPooling2D, kl.GroupNormalization, kl.LayerNormalization, kl.LeakyReLU, kl.MaxPooling2D, kl.Maximum,
    kl.Minimum, kl.Multiply, kl.PReLU, kl.ReLU, kl.Rescaling, kl.SeparableConv2D, kl.Softmax, kl.SpatialDropout2D,
    kl.Subtract, kl.UpSampling2D, kl.ZeroPadding2D,
)  # fmt: skip
TFSEG = tuple(getattr(tl, name) for name in tl.__all__)

CLASSES = "${classes}"
"""Stands for the number of classes in any argument of a layer."""
IMAGE = "image"
"""Stands for the network's input."""

Scalar = bool | int | float | str | None
Argument = Scalar | tuple[Scalar | tuple[Scalar, ...], ...] | dict[str, Scalar]
"""A map is an initializer, regularizer or constraint with arguments: `{type: random_normal, stddev: 0.01}`."""
Shape = tuple[int | None, ...]


class Node:
    """A named layer, what it reads, and the arguments of its constructor."""

    LAYER: ClassVar[type[keras.Layer]]
    DEFAULTS: ClassVar[dict[str, Any]]
    name: str
    inputs: str | tuple[str, ...] | None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs; a layer class that gives several says them in `OUTPUTS`."""
        return getattr(self.LAYER, "OUTPUTS", ("output",))

    def make(self, classes: int) -> keras.Layer:
        """The layer itself."""
        given = {name: getattr(self, name) for name, default in self.DEFAULTS.items() if getattr(self, name) != default}
        resolved = {name: classes if value == CLASSES else _keras(value) for name, value in given.items()}
        return self.LAYER(name=self.name, **resolved)

    def sources(self, before: str) -> tuple[str, ...]:
        """The names of what it reads; `before` is the layer above it."""
        if self.inputs is None:
            return (before,)
        return (self.inputs,) if isinstance(self.inputs, str) else self.inputs

    @model_validator(mode="after")
    def _makes_a_layer(self) -> Self:
        try:
            config = self.make(classes=2).get_config()
        except Exception as error:  # whatever a constructor raises, an argument is wrong
            reason = one_line(error)
            raise ValueError(f"{self.LAYER.__name__} refuses these arguments: {reason}") from error
        theirs = self.LAYER.__module__.startswith("keras.")  # older versions leave out what is at its default
        if lost := [name for name in self.DEFAULTS if not theirs and name not in (*config, "trainable")]:
            raise ValueError(f"{self.LAYER.__name__} could not be loaded again: its get_config lacks {listed(lost)}")
        return self


def _keras(argument: Argument) -> Any:
    """`argument` as a constructor takes it: of a map, Keras's own way to write the object that it names."""
    if not isinstance(argument, dict):
        return argument
    return {
        "class_name": argument.get("type"),
        "config": {key: each for key, each in argument.items() if key != "type"},
    }


def word(layer: type[keras.Layer]) -> str:
    """The name of a layer in a file: `conv` for Conv2D, `bilinear_conv_transpose` for BilinearConv2DTranspose."""
    name = layer.__name__.replace("2D", "").replace("2d", "").replace("PReLU", "Prelu").replace("ReLU", "Relu")
    return "_".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", name)).lower()


@functools.cache  # equal values need one and the same class
def node(layer: type[keras.Layer]) -> type[Node]:
    """The spec of `layer`: its name in the graph, its inputs, and the parameters of its constructor."""
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
    """The constructor's own parameters, and `trainable` of every layer."""
    bare = layer.__init__ is kl.Layer.__init__  # whose own arguments are no layer's in particular
    own = {} if bare else dict(list(inspect.signature(layer.__init__).parameters.items())[1:])
    trainable = inspect.signature(kl.Layer.__init__).parameters["trainable"]
    kept = {name: each for name, each in own.items() if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
    skipped = ("name", "dtype", "data_format")
    return {name: each for name, each in {"trainable": trainable, **kept}.items() if name not in skipped}


def layer_refusal(layer: type[keras.Layer]) -> str | None:
    """Why a layer of a user's own cannot stand in a file, or None."""
    own = {name: each.default for name, each in _arguments(layer).items() if name != "trainable"}
    for name, default in own.items():
        if default is not inspect.Parameter.empty and not _is_argument(default):
            return (
                f"has the argument {name}, whose default no file can write; expected a number, a string, a list of "
                f"them or a mapping. Received: {default!r}"
            )
    if not word(layer):
        return "has no capital letter in its name, of which the word in a file is made; call it as Keras calls layers"
    if layer.__module__.startswith("keras."):
        return None
    if own and layer.get_config is keras.Layer.get_config:
        return f"has no get_config, by which a saved network keeps its arguments; return {listed(own)} there"
    if keras.saving.get_registered_object(keras.saving.get_registered_name(layer)) is not layer:
        return (
            "is not registered, and a saved network finds its layers by name; put "
            '@keras.saving.register_keras_serializable(package="…") above it'
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
        "layer": described(Literal[word(layer)], f"{layer.__name__}."),
        "name": described(Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$")], "Of this layer and no other."),
        "inputs": described(
            Annotated[str, Field(min_length=1)] | Annotated[tuple[str, ...], Field(min_length=1)] | None,
            "The layer or layers that it reads, or image; null reads the layer above. A layer with several outputs "
            "gives them as name.output.",
        ),
        **{name: described(Argument, f"As {name} of {layer.__name__}'s constructor.") for name in arguments},
    }


class ByLayer(Slot):
    """Marks a list item whose `layer:` picks the spec.

    Args:
        layers: the layer classes; those of one's own come from `COMPONENTS`.
    """

    WANTED = "Keras layers"

    def __init__(self, layers: Sequence[type[keras.Layer]]) -> None:
        self.layers = tuple(layers)
        self.nodes = {word(layer): node(layer) for layer in sorted(self.layers, key=word)}  # type: ignore[arg-type]
        """The specs of the layers, by their names in a file."""

    def members(self, annotation: Any) -> tuple[type, ...]:
        return tuple(each.LAYER for each in self.nodes.values())

    def word(self, member: type) -> str:
        return word(member)

    def takes(self, member: Any) -> bool:
        return isinstance(member, type) and issubclass(member, keras.Layer)

    def refusal(self, member: type) -> str | None:
        return layer_refusal(member)

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
"""The layers that come with tfseg, by their names in a file."""

AnyNode = Annotated[Node, LAYERS]


def output_shapes(layer: keras.Layer, inputs: Sequence[Shape | None], outputs: int) -> tuple[Shape | None, ...]:
    """The shapes of the layer's `outputs`, before it has any weights; None where it does not tell."""
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
