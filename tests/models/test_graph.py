"""Graph networks: FCN-8s defined layer by layer equals that of backbone and decoder, and errors give file and line."""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import keras
import numpy as np
import pytest
import yaml

from tests.models.conftest import LABELS
from tfseg import layers as tl
from tfseg.backbones import Vgg16
from tfseg.context import Context, Grid
from tfseg.labels import Labels
from tfseg.models import Graph, Model, ModelError, Segmenter, describe
from tfseg.models.coordinates import coordinate_map, layer_receptive_field, receptive_field
from tfseg.models.decoders import Fcn
from tfseg.models.nodes import KERAS, NODES, TFSEG, ByLayer, Node, word
from tfseg.ops.geometry import CoordinateMap, ReceptiveField
from tfseg.spec.declare import spec
from tfseg.spec.schema import json_schema
from tfseg.spec.show import dump
from tfseg.spec.source import read
from tfseg.spec.validate import SpecError, validate

FCN8S = (Path(__file__).parent / "fcn8s_vgg16.yaml").read_text(encoding="utf-8")


@spec
class File:
    """File with a model."""

    model: Model
    """Model."""


def loaded(text: str, folder: Path, overrides: tuple[str, ...] = ()) -> Any:
    file = folder / "file.yaml"
    file.write_text("model:\n" + "".join(f"  {line}\n" for line in text.splitlines()), encoding="utf-8")
    return validate(File, read(file, overrides)).model


def narrow(text: str, factor: int = 64) -> str:
    return re.sub(r"filters: (\d+)", lambda found: f"filters: {int(found[1]) // factor}", text)


def weights(model: keras.Model) -> dict[str, tuple[int, ...]]:
    return {variable.path: tuple(variable.shape) for variable in model.weights}


def test_graph_and_family_build_the_same_network(tmp_path: Path) -> None:
    written = loaded(narrow(FCN8S), tmp_path).build(LABELS)
    family = Segmenter(
        backbone=Vgg16(form="original", width_multiplier=1 / 64), decoder=Fcn(upsampling="deconv")
    ).build(LABELS)
    assert [layer.name for layer in written.layers] == [layer.name for layer in family.layers]
    assert weights(written) == weights(family)
    assert [w.path for w in written.trainable_weights] == [w.path for w in family.trainable_weights]
    rng = np.random.default_rng(0)
    for layer in family.layers:
        if layer.name.startswith("score_") and layer.weights:
            layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    written.set_weights(family.get_weights())
    for height, width in ((40, 33), (97, 64)):
        image = rng.integers(0, 256, (2, height, width, 3), np.uint8)
        np.testing.assert_array_equal(written(image), family(image))
        assert float(keras.ops.std(written(image))) > 0


@pytest.mark.slow
def test_parameters_and_receptive_field_of_fcn8s(tmp_path: Path) -> None:
    voc = Labels(names=tuple(f"class {index}" for index in range(21)))
    description = describe(loaded(FCN8S, tmp_path).build(voc))
    assert (description.trainable, description.non_trainable, description.receptive_field) == (
        134_362_751,
        127_008,
        404,
    )


def test_dumped_graphs_can_be_read_again(tmp_path: Path) -> None:
    graph = loaded(FCN8S, tmp_path)
    (tmp_path / "shown.yaml").write_text(dump(File(model=graph)), encoding="utf-8")
    assert validate(File, read(tmp_path / "shown.yaml")).model == graph


def test_overrides_of_a_layer(tmp_path: Path) -> None:
    graph = loaded(narrow(FCN8S), tmp_path, ("model.layers.21.rate=0.25",))
    assert graph.build(LABELS).get_layer("drop6").rate == 0.25


def test_outputs_in_training() -> None:
    graph = Graph(layers=({"name": "score", "layer": "conv", "filters": "${classes}", "kernel_size": 1},))
    model = graph.build(LABELS, training=True)
    assert list(model.output) == ["logits", "scores"]
    assert graph.load_weights(model) is None


def test_output_stride_and_crop_grid(tmp_path: Path) -> None:
    original = loaded(FCN8S, tmp_path)
    assert (original.output_stride, original.crop_grid) == (32, None)
    resized = Graph(
        layers=(
            {
                "name": "down",
                "layer": "conv",
                "filters": "${classes}",
                "kernel_size": 3,
                "strides": 4,
                "padding": "same",
            },
            {"name": "up", "layer": "resize_like", "inputs": ("down", "image")},
        )
    )
    assert (resized.output_stride, resized.crop_grid) == (4, Grid(4, 4, None))


class Halves(keras.layers.Layer):
    """Returns its input and half of it."""

    OUTPUTS = ("whole", "half")

    def call(self, x: Any) -> tuple[Any, Any]:
        return x, x / 2


def test_layers_with_several_outputs() -> None:
    @spec
    class Wider(Graph):
        """Graph with one more layer type."""

        layers: tuple[Annotated[Node, ByLayer((*KERAS, Halves))], ...]
        """Layers."""

    parts = {"name": "parts", "layer": "halves"}
    total = {"name": "sum", "layer": "add", "inputs": ("parts.half", "parts.half", "parts")}
    score = {"name": "score", "layer": "conv", "filters": "${classes}", "kernel_size": 1, "kernel_initializer": "ones"}
    model = Wider(channels=1, layers=(parts, total, score)).build(LABELS)
    np.testing.assert_allclose(model(np.full((1, 2, 2, 1), 3.0)), np.full((1, 2, 2, 3), 6.0))
    with pytest.raises(SpecError) as error:
        Wider(layers=(parts, {**total, "inputs": ("parts", "parts.third")}))
    assert "layers.1.inputs: 'parts' has no output 'third'; its outputs: whole, half" in str(error.value)


def errors(text: str, folder: Path) -> list[str]:
    with pytest.raises(SpecError) as error:
        loaded(text, folder)
    return [line.replace(str(folder / "file.yaml"), "file") for line in str(error.value).splitlines()]


def test_name_errors_give_file_and_line(tmp_path: Path) -> None:
    text = FCN8S.replace("inputs: pool3", "inputs: poool3").replace("name: conv4_3", "name: conv4_2")
    text = text.replace("name: drop7", "name: logits").replace("[upscore8, image]", "[upscore8, image.size]")
    assert errors(text, tmp_path) == [
        "file:19: model.layers.14.name: 'conv4_2' is already in use; give every layer a unique name",
        "file:28: model.layers.23.name: 'logits' is reserved for the network's output; give every layer a unique name",
        "file:35: model.layers.30.inputs: no preceding layer is named 'poool3'; did you mean \"pool3\"?",
        "file:39: model.layers.34.inputs: 'image' has no output 'size'; its outputs: output",
    ]


def test_argument_errors_give_file_and_line(tmp_path: Path) -> None:
    text = FCN8S.replace("activation: relu", "activation: rulu", 1).replace("strides: 8}", "stride: 8}")
    assert errors(text, tmp_path) == [
        "file:7: model.layers.2: Conv2D rejected these arguments: "
        "Could not interpret activation function identifier: rulu",
        'file:38: model.layers.33.stride: unknown key; did you mean "strides"? Known keys: layer, name, '
        "inputs, trainable, filters, kernel_size, strides, padding, use_bias",
    ]


def test_unknown_layers_are_rejected(tmp_path: Path) -> None:
    text = "type: graph\nlayers:\n  - {name: a, layer: convv}\n  - {name: b}\n  - conv"
    known = ", ".join(NODES)
    assert errors(text, tmp_path) == [
        f"file:4: model.layers.0.layer: expected a layer; did you mean \"conv\"?; layers: {known}. Received: 'convv'",
        f"file:5: model.layers.1.layer: expected a layer; layers: {known}. Received: None",
        "file:6: model.layers.2: expected a mapping with the keys name and layer. Received: 'conv'",
    ]


def graph(*layers: dict[str, Any]) -> Graph:
    return Graph(layers=tuple({"name": f"layer{index}", **layer} for index, layer in enumerate(layers)))


SCORE = {"layer": "conv", "filters": "${classes}", "kernel_size": 1}
PROBLEMS = [
    (
        graph({"layer": "conv", "filters": 5, "kernel_size": 1}),
        ("layers", 0),
        "the last layer must output [batch, height, width, 3], one score per class. Received: [None, None, None, 5]",
    ),
    (
        graph(SCORE, {"layer": "global_average_pooling"}),
        ("layers", 1),
        "the last layer must output [batch, height, width, 3], one score per class. Received: [None, 3]",
    ),
    (
        graph(
            {"layer": "zero_padding", "padding": 3},
            SCORE,
            {"layer": "crop_like", "inputs": ("layer1", "image"), "offset": 2},
        ),
        ("layers", 2, "offset"),
        "the inputs are aligned at offset 3. Received: 2",
    ),
    (
        graph(SCORE, {**SCORE, "strides": 2}, {"layer": "crop_like", "inputs": ("layer1", "image"), "offset": 0}),
        ("layers", 2, "offset"),
        "Expected two tensors of the same scale to crop one to the other; resize or upsample one of them first. "
        "Received: deep.scale=1/2, reference.scale=1",
    ),
]


@pytest.mark.parametrize(("spec", "path", "message"), PROBLEMS)
def test_incompatible_layers_are_reported(spec: Graph, path: tuple[str | int, ...], message: str) -> None:
    assert list(spec.problems(Context(LABELS, 3))) == [(path, message)]
    with pytest.raises(ModelError) as error:
        spec.build(LABELS)
    assert str(error.value) == f"model.{'.'.join(map(str, path))}: {message}"


def test_layers_that_cannot_be_applied_to_their_inputs() -> None:
    [(path, message)] = graph(SCORE, {"layer": "add", "inputs": ("layer0", "image.output")}, SCORE).problems(
        Context(Labels(names=("a", "b")), 3)
    )
    assert path == ("layers", 1)
    assert message.startswith("Add cannot be applied to its inputs: ")


def test_layers_that_fail_when_called() -> None:
    """Shapes do not reveal that groups must divide the channels of the image."""
    spec = graph({"layer": "conv", "filters": 4, "kernel_size": 1, "groups": 2}, SCORE)
    with pytest.raises(ModelError) as error:
        spec.build(LABELS)
    assert str(error.value).startswith("model.layers.0: Conv2D cannot be applied to its inputs: ")


def test_names_of_layers() -> None:
    assert {word(layer) for layer in (*KERAS, *TFSEG)} == set(NODES)
    assert len(NODES) == len(KERAS) + len(TFSEG)
    for layer, name in (
        (keras.layers.Conv2D, "conv"),
        (keras.layers.MaxPooling2D, "max_pooling"),
        (keras.layers.PReLU, "prelu"),
        (keras.layers.LeakyReLU, "leaky_relu"),
        (tl.BilinearConv2DTranspose, "bilinear_conv_transpose"),
        (tl.ResizeLike, "resize_like"),
    ):
        assert word(layer) == name
        assert NODES[name].LAYER is layer


def test_spec_fields_match_the_constructor_arguments() -> None:
    fields = {field.name for field in dataclasses.fields(NODES["conv"])}
    assert fields == {
        "layer", "name", "inputs", "trainable", "filters", "kernel_size", "strides", "padding", "dilation_rate",
        "groups", "activation", "use_bias", "kernel_initializer", "bias_initializer", "kernel_regularizer",
        "bias_regularizer", "activity_regularizer", "kernel_constraint", "bias_constraint",
    }  # fmt: skip


UNBOUNDED = {
    *("atrous_spatial_pyramid_pooling", "crf_rnn", "global_average_pooling", "global_max_pooling", "pyramid_pooling"),
}
"""Layers with an unbounded receptive field."""


@pytest.mark.parametrize("name", sorted(set(NODES) - UNBOUNDED))
def test_every_layer_has_a_known_receptive_field(name: str) -> None:
    """Otherwise networks with the layer have no receptive field, and their crops are not checked."""
    required = {
        "filters": 3,
        "kernel_size": 3,
        "rate": 0.5,
        "stddev": 0.1,
        "activation": "relu",
        "scale": 2.0,
        "pool_size": 2,
    }
    required |= {
        "factor": 2,
        "offset": 0,
        "mode": "tf",
        "num_classes": 3,
        "multiple": 8,
        "padding": 1,
        "size": 9,
        "scales": 2,
    }
    kind = NODES[name]
    missing = [argument for argument, value in kind.DEFAULTS.items() if value is inspect.Parameter.empty]
    needs_mode = ["mode"] if name == "normalize" else []
    made = kind(layer=name, name="x", **{argument: required[argument] for argument in [*missing, *needs_mode]}).make(
        classes=2
    )
    assert layer_receptive_field(made, [ReceptiveField(), ReceptiveField()], axis=0).size >= 1


@pytest.mark.slow
def test_json_schema_for_editors(tmp_path: Path) -> None:
    schema = json_schema(File)
    written = yaml.safe_load(FCN8S)
    jsonschema.validate({"model": written}, schema)
    written["layers"][1]["paddding"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"model": written}, schema)


def test_coordinates_of_upsampling_and_average_pooling() -> None:
    """Positions of both are known, so that crops are checked and the receptive field is computed."""
    layers = (
        {"name": "pool", "layer": "average_pooling", "pool_size": 2},
        {"name": "score", "layer": "conv", "filters": "${classes}", "kernel_size": 1},
        {"name": "up", "layer": "up_sampling", "size": 2, "interpolation": "bilinear"},
    )
    model = Graph(layers=layers).build(LABELS)
    image = np.random.default_rng(0).normal(size=(1, 8, 10, 3)).astype(np.float32)
    assert model(image).shape == (1, 8, 10, 3)
    assert coordinate_map(model.get_layer("up").output) == CoordinateMap()
    assert describe(model).receptive_field == 2
    assert receptive_field(model.get_layer("up").output).size == 4


def test_last_layer_must_score_every_pixel() -> None:
    half = {**SCORE, "strides": 2}
    [(path, message)] = graph(half).problems(Context(Labels(names=("a", "b", "c")), 3))
    assert path == ("layers", 0)
    assert message == (
        "the last layer must score every pixel, but its output has stride 2. Add a resize_like with image as its "
        "second input"
    )


def test_layer_type_must_be_a_string() -> None:
    with pytest.raises(SpecError, match="expected a layer; layers: activation"):
        Graph(layers=({"name": "a", "layer": {"type": "conv"}},))
