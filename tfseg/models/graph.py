"""Networks defined layer by layer, as in a Caffe prototxt."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Self

import keras
import numpy as np
from pydantic import Field, model_validator

from tfseg.context import Context, Grid
from tfseg.errors import one_line
from tfseg.labels import Labels
from tfseg.layers import CropLike
from tfseg.models.coordinates import NoCoordinates, layer_coordinate_map, layer_receptive_field
from tfseg.models.nodes import IMAGE, AnyNode, Node, Shape, output_shapes
from tfseg.models.outputs import functional
from tfseg.models.problems import ModelError, raise_problems
from tfseg.ops.geometry import CoordinateMap, ReceptiveField, crop_offset
from tfseg.spec.declare import spec
from tfseg.spec.messages import listed, nearest
from tfseg.spec.problems import FieldProblem, InvalidFields, formatted, prefixed


@spec
class Graph:
    """Network defined as a list of named layers with their inputs; the last layer outputs the logits.

    `image` is the input, with values from 0 to 255. `${classes}` stands for the number of classes. A layer without
    `inputs` takes the output of the preceding layer. A layer with several outputs has one name per output, such as
    `pool5.indices`. The logits have the height and width of the image.
    """

    type: Literal["graph"] = "graph"
    channels: Annotated[int, Field(ge=1)] = 3
    """Number of image channels; 3 for RGB."""
    layers: Annotated[tuple[AnyNode, ...], Field(min_length=1)]
    """Layers, in an order in which each follows its inputs."""

    @model_validator(mode="after")
    def _connected(self) -> Self:
        if problems := list(prefixed("layers", self._name_problems())):
            raise InvalidFields(*problems)
        return self

    def _name_problems(self) -> Iterator[FieldProblem]:
        """Yields duplicate names and unknown inputs, as pairs `(path, message)`."""
        known: dict[str, tuple[str, ...]] = {IMAGE: ("output",)}
        for index, node in enumerate(self.layers):
            if node.name in known or node.name == "logits":
                taken = "is reserved for the network's output" if node.name == "logits" else "is already in use"
                yield (index, "name"), f"{node.name!r} {taken}; give every layer a unique name"
            for source in node.sources(IMAGE):
                name, _, output = source.partition(".")
                if name not in known:
                    yield (index, "inputs"), f"no preceding layer is named {name!r}{nearest(name, known)}"
                elif output and output not in known[name]:
                    yield (index, "inputs"), f"{name!r} has no output {output!r}; its outputs: {listed(known[name])}"
            known[node.name] = node.outputs

    def build(self, labels: Labels, training: bool = False) -> keras.Model:
        """Builds a Functional model from `image` to float32 `logits` of the same height and width.

        Args:
            labels: Class labels; `${classes}` is their number.
            training: Boolean, whether the model has the outputs `logits` and `scores`, both from the last layer.

        Returns:
            A model with input `image`, `[batch, height, width, channels]` with values from 0 to 255.

        Raises:
            ModelError: If a layer cannot be applied to its inputs, or the last one does not output one score per class;
                `problems` reports both in advance as far as shapes determine them.
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
        """Ratio of image to feature resolution at the deepest feature map.

        Layers are considered up to the first one whose receptive field is unknown or unbounded.
        """
        return int(max(field.jump for field in self._fields()))

    @property
    def stage_layers(self) -> tuple[tuple[str, ...], ...]:
        """No stages: a graph has no backbone."""
        return ()

    @property
    def positions(self) -> None:
        """None, because the scores are logits of the image's size."""

    @property
    def crop_grid(self) -> Grid | None:
        """Sizes that training crops should have; None if any size fits."""
        crops = any(isinstance(layer, CropLike) for _, layer, _ in self._resolved(classes=2))
        return None if crops else Grid(self.output_stride, self.output_stride, None)

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the conflicts between layers, as pairs `(path, message)`."""
        labels = context.labels
        crops = list(self._crop_problems())
        yield from crops
        shapes: dict[str, tuple[Shape | None, ...]] = {IMAGE: ((None, None, None, self.channels),)}
        for index, (node, layer, sources) in enumerate(self._resolved(labels.count)):
            try:
                inputs = [shapes[name][output] for name, output in sources]
                shapes[node.name] = output_shapes(layer, inputs, len(node.outputs))
            except Exception as error:  # noqa: BLE001 - a layer can raise anything on shapes that do not fit
                yield ("layers", index), f"{type(layer).__name__} cannot be applied to its inputs: {one_line(error)}"
                return
        found = shapes[self.layers[-1].name][0]
        if found is not None and (len(found) != 4 or found[-1] != labels.count):
            expected = f"[batch, height, width, {labels.count}], one score per class"
            yield ("layers", len(self.layers) - 1), f"the last layer must output {expected}. Received: {list(found)}"
        fields = list(self._fields())
        if not crops and len(fields) > len(self.layers) and (jump := fields[-1].jump) != 1:  # all strides are known
            message = f"must score every pixel, but its output has stride {float(jump):g}"
            yield (
                ("layers", len(self.layers) - 1),
                f"the last layer {message}. Add a resize_like with image as its second input",
            )

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """Yields nothing, because a graph sets every argument of each layer."""
        yield from ()

    def _crop_problems(self) -> Iterator[FieldProblem]:
        """Yields the `crop_like` layers whose offset does not align their inputs, as pairs `(path, message)`."""
        maps: dict[str, CoordinateMap | None] = {IMAGE: CoordinateMap()}
        for index, (node, layer, sources) in enumerate(self._resolved(classes=2)):
            inputs = [maps[name] for name, _ in sources]
            maps[node.name] = _map(layer, inputs)
            if isinstance(layer, CropLike) and (problem := _crop_problem(layer, inputs)) is not None:
                yield ("layers", index, "offset"), problem

    def load_weights(self, model: keras.Model, images: Iterable[np.ndarray] = ()) -> None:
        """Loads nothing, because a graph has no key for weights."""

    def _resolved(self, classes: int) -> Iterator[tuple[Node, keras.Layer, list[tuple[str, int]]]]:
        """Yields every node with its layer and the (name, output index) of each of its inputs."""
        previous = IMAGE
        outputs: dict[str, tuple[str, ...]] = {IMAGE: ("output",)}
        for node in self.layers:
            parts = [source.partition(".") for source in node.sources(previous)]
            yield node, node.make(classes), [(name, outputs[name].index(out) if out else 0) for name, _, out in parts]
            outputs[node.name], previous = node.outputs, node.name

    def _fields(self) -> Iterator[ReceptiveField]:
        fields: dict[str, ReceptiveField] = {IMAGE: ReceptiveField()}
        for node, layer, sources in self._resolved(classes=2):
            yield fields[sources[0][0]]
            try:
                fields[node.name] = layer_receptive_field(layer, [fields[name] for name, _ in sources], axis=0)
            except NoCoordinates:
                return
        yield fields[self.layers[-1].name]


def _called(index: int, layer: keras.Layer, inputs: list[keras.KerasTensor]) -> tuple[keras.KerasTensor, ...]:
    try:
        outputs = layer(inputs[0] if len(inputs) == 1 else inputs)
    except Exception as error:  # a layer can raise anything on inputs that do not fit
        problem = (
            ("model", "layers", index),
            f"{type(layer).__name__} cannot be applied to its inputs: {one_line(error)}",
        )
        raise ModelError(formatted([problem]), [problem]) from error
    return tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)


def _map(layer: keras.Layer, inputs: list[CoordinateMap | None]) -> CoordinateMap | None:
    """Returns the coordinate map of the layer's output; None if it is unknown or depends on the image size."""
    known = [each for each in inputs if each is not None]
    try:
        return layer_coordinate_map(layer, known, axis=0) if len(known) == len(inputs) else None
    except NoCoordinates:
        return None


def _crop_problem(layer: CropLike, inputs: list[CoordinateMap | None]) -> str | None:
    x, reference = inputs
    if x is None or reference is None:
        return None
    try:
        offset = crop_offset(x, reference)
    except ValueError as error:
        return one_line(error)
    return None if layer.offset == offset else f"the inputs are aligned at offset {offset}. Received: {layer.offset}"
