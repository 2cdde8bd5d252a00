"""The graph level: a network written down layer by layer, the way a prototxt was."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Self

import keras
import numpy as np
from pydantic import Field, model_validator

from tfseg.context import Context, Grid
from tfseg.errors import one_line
from tfseg.labels import Labels
from tfseg.layers import CropLike
from tfseg.models.coordinates import NoCoordinates, mapped, seen
from tfseg.models.nodes import IMAGE, AnyNode, Node, Shape, output_shapes
from tfseg.models.outputs import functional
from tfseg.models.problems import ModelError, raise_problems
from tfseg.ops.geometry import CoordinateMap, ReceptiveField, crop_offset
from tfseg.spec.declare import spec
from tfseg.spec.messages import listed, nearest
from tfseg.spec.problems import FieldProblem, InvalidFields, formatted, prefixed


@spec
class Graph:
    """A network as a list of named layers, each with its inputs; the last one gives the logits, at the image's size.

    `image` is the input, 0 to 255. `${classes}` stands for the number of classes. A layer without `inputs` reads the
    one above it. A layer with several outputs gives them by name: `pool5.indices`.
    """

    type: Literal["graph"] = "graph"
    channels: Annotated[int, Field(ge=1)] = 3
    """Channels of the image; three are RGB."""
    layers: Annotated[tuple[AnyNode, ...], Field(min_length=1)]
    """The layers, each after those that it reads."""

    @model_validator(mode="after")
    def _connected(self) -> Self:
        if faults := list(prefixed("layers", self._loose_ends())):
            raise InvalidFields(*faults)
        return self

    def _loose_ends(self) -> Iterator[FieldProblem]:
        """Names that are taken and inputs that do not exist, each as (path, message)."""
        known: dict[str, tuple[str, ...]] = {IMAGE: ("output",)}
        for index, node in enumerate(self.layers):
            if node.name in known or node.name == "logits":
                taken = "names the network's output" if node.name == "logits" else "is taken"
                yield (index, "name"), f"{node.name!r} {taken}; give every layer a name of its own"
            for source in node.sources(IMAGE):
                name, _, output = source.partition(".")
                if name not in known:
                    yield (index, "inputs"), f"no layer above is called {name!r}{nearest(name, known)}"
                elif output and output not in known[name]:
                    yield (index, "inputs"), f"{name!r} has no output {output!r}; it has {listed(known[name])}"
            known[node.name] = node.outputs

    def build(self, labels: Labels, training: bool = False) -> keras.Model:
        """A Functional model: `image` `[batch, height, width, channels]`, 0 to 255, to float32 `logits` of that size.

        Args:
            labels: the classes; `${classes}` is their number.
            training: build the form with the outputs `logits` and `scores`, which are the last layer's here.

        Raises:
            ModelError: a layer cannot read its inputs, or the last one does not score each class; `problems` says so
                in advance as far as shapes tell.
        """
        raise_problems(self.problems(Context(labels, self.channels)))
        image = keras.Input((None, None, self.channels), name="image")
        tensors: dict[str, Any] = {IMAGE: (image,)}
        for index, (node, layer, sources) in enumerate(self._resolved(labels.count)):
            inputs = [tensors[name][output] for name, output in sources]
            tensors[node.name] = _called(index, layer, inputs)
        logits = tensors[self.layers[-1].name][0]
        return functional(image, logits, logits if training else None)

    @property
    def output_stride(self) -> int:
        """Image pixels between two places of the deepest map; 1 before the first layer of an unknown kind."""
        return int(max(field.jump for field in self._fields()))

    @property
    def positions(self) -> None:
        """Scores are logits here, of the image's size."""

    @property
    def crop_grid(self) -> Grid | None:
        """The sizes that crops of images should have; None: any."""
        crops = any(isinstance(layer, CropLike) for _, layer, _ in self._resolved(classes=2))
        return None if crops else Grid(self.output_stride, self.output_stride, None)

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What keeps the layers from working together, each as (path, message)."""
        labels = context.labels
        crops = list(self._wrong_crops())
        yield from crops
        shapes: dict[str, tuple[Shape | None, ...]] = {IMAGE: ((None, None, None, self.channels),)}
        for index, (node, layer, sources) in enumerate(self._resolved(labels.count)):
            try:
                inputs = [shapes[name][output] for name, output in sources]
                shapes[node.name] = output_shapes(layer, inputs, len(node.outputs))
            except Exception as error:  # noqa: BLE001 - whatever a layer raises about shapes, its inputs do not fit
                yield ("layers", index), f"{type(layer).__name__} cannot read its inputs: {one_line(error)}"
                return
        found = shapes[self.layers[-1].name][0]
        if found is not None and (len(found) != 4 or found[-1] != labels.count):
            expected = f"[batch, height, width, {labels.count}], a score for each class"
            yield ("layers", len(self.layers) - 1), f"the last layer must give {expected}. Received: {list(found)}"
        fields = list(self._fields())
        if not crops and len(fields) > len(self.layers) and (jump := fields[-1].jump) != 1:  # all layers are known
            message = f"must score every pixel, and what it gives lies {float(jump):g} pixels apart"
            yield ("layers", len(self.layers) - 1), f"the last layer {message}. Add a resize_like that reads image too"

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """Nothing: a graph says everything of each of its layers."""
        yield from ()

    def _wrong_crops(self) -> Iterator[FieldProblem]:
        """Crops that put places onto others that lie elsewhere in the image."""
        maps: dict[str, CoordinateMap | None] = {IMAGE: CoordinateMap()}
        for index, (node, layer, sources) in enumerate(self._resolved(classes=2)):
            inputs = [maps[name] for name, _ in sources]
            maps[node.name] = _map(layer, inputs)
            if isinstance(layer, CropLike) and (fault := _wrong_crop(layer, inputs)) is not None:
                yield ("layers", index, "offset"), fault

    def load_weights(self, model: keras.Model, images: Iterable[np.ndarray] = ()) -> None:
        """Nothing: a graph names no weights."""

    def _resolved(self, classes: int) -> Iterator[tuple[Node, keras.Layer, list[tuple[str, int]]]]:
        """Every node with its layer and the (name, number) of each output that it reads."""
        before = IMAGE
        outputs: dict[str, tuple[str, ...]] = {IMAGE: ("output",)}
        for node in self.layers:
            parts = [source.partition(".") for source in node.sources(before)]
            yield node, node.make(classes), [(name, outputs[name].index(out) if out else 0) for name, _, out in parts]
            outputs[node.name], before = node.outputs, node.name

    def _fields(self) -> Iterator[ReceptiveField]:
        fields: dict[str, ReceptiveField] = {IMAGE: ReceptiveField()}
        for node, layer, sources in self._resolved(classes=2):
            yield fields[sources[0][0]]
            try:
                fields[node.name] = seen(layer, [fields[name] for name, _ in sources], axis=0)
            except NoCoordinates:
                return
        yield fields[self.layers[-1].name]


def _called(index: int, layer: keras.Layer, inputs: list[keras.KerasTensor]) -> tuple[keras.KerasTensor, ...]:
    try:
        outputs = layer(inputs[0] if len(inputs) == 1 else inputs)
    except Exception as error:  # whatever a layer raises here, its inputs do not fit
        fault = ("model", "layers", index), f"{type(layer).__name__} cannot read its inputs: {one_line(error)}"
        raise ModelError(formatted([fault]), [fault]) from error
    return tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)


def _map(layer: keras.Layer, inputs: list[CoordinateMap | None]) -> CoordinateMap | None:
    """Where the places of the layer's output lie; None where that is not known, or follows the image's size."""
    known = [each for each in inputs if each is not None]
    try:
        return mapped(layer, known, axis=0) if len(known) == len(inputs) else None
    except NoCoordinates:
        return None


def _wrong_crop(layer: CropLike, inputs: list[CoordinateMap | None]) -> str | None:
    x, reference = inputs
    if x is None or reference is None:
        return None
    try:
        right = crop_offset(x, reference)
    except ValueError as error:
        return one_line(error)
    return None if layer.offset == right else f"the places of both inputs coincide at {right}. Received: {layer.offset}"
