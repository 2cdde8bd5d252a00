"""The graph level: FCN-8s written down layer by layer is the family's FCN-8s, and every mistake has its line."""

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
from tfseg.models.coordinates import coordinate_map, receptive_field, seen
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
    """A file with a model."""

    model: Model
    """The model."""


def loaded(text: str, folder: Path, overrides: tuple[str, ...] = ()) -> Any:
    file = folder / "file.yaml"
    file.write_text("model:\n" + "".join(f"  {line}\n" for line in text.splitlines()), encoding="utf-8")
    return validate(File, read(file, overrides)).model


def narrow(text: str, factor: int = 64) -> str:
    return re.sub(r"filters: (\d+)", lambda found: f"filters: {int(found[1]) // factor}", text)


def weights(model: keras.Model) -> dict[str, tuple[int, ...]]:
    return {variable.path: tuple(variable.shape) for variable in model.weights}


def test_both_levels_build_the_same_net(tmp_path: Path) -> None:
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
def test_the_numbers_of_fcn8s(tmp_path: Path) -> None:
    voc = Labels(names=tuple(f"class {index}" for index in range(21)))
    description = describe(loaded(FCN8S, tmp_path).build(voc))
    assert (description.trainable, description.fixed, description.receptive_field) == (134_362_751, 127_008, 404)


def test_what_show_prints_reads_back(tmp_path: Path) -> None:
    graph = loaded(FCN8S, tmp_path)
    (tmp_path / "shown.yaml").write_text(dump(File(model=graph)), encoding="utf-8")
    assert validate(File, read(tmp_path / "shown.yaml")).model == graph


def test_overrides_reach_a_node(tmp_path: Path) -> None:
    graph = loaded(narrow(FCN8S), tmp_path, ("model.layers.21.rate=0.25",))
    assert graph.build(LABELS).get_layer("drop6").rate == 0.25


def test_the_training_form() -> None:
    graph = Graph(layers=({"name": "score", "layer": "conv", "filters": "${classes}", "kernel_size": 1},))
    model = graph.build(LABELS, training=True)
    assert list(model.output) == ["logits", "scores"]
    assert graph.load_weights(model) is None


def test_stride_and_crops(tmp_path: Path) -> None:
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
    """Its input, and half of it."""

    OUTPUTS = ("whole", "half")

    def call(self, x: Any) -> tuple[Any, Any]:
        return x, x / 2


def test_a_layer_of_several_outputs() -> None:
    @spec
    class Wider(Graph):
        """A graph that knows one more layer."""

        layers: tuple[Annotated[Node, ByLayer((*KERAS, Halves))], ...]
        """The layers."""

    parts = {"name": "parts", "layer": "halves"}
    total = {"name": "sum", "layer": "add", "inputs": ("parts.half", "parts.half", "parts")}
    score = {"name": "score", "layer": "conv", "filters": "${classes}", "kernel_size": 1, "kernel_initializer": "ones"}
    model = Wider(channels=1, layers=(parts, total, score)).build(LABELS)
    np.testing.assert_allclose(model(np.full((1, 2, 2, 1), 3.0)), np.full((1, 2, 2, 3), 6.0))
    with pytest.raises(SpecError) as error:
        Wider(layers=(parts, {**total, "inputs": ("parts", "parts.third")}))
    assert "layers.1.inputs: 'parts' has no output 'third'; it has whole, half" in str(error.value)


def faults(text: str, folder: Path) -> list[str]:
    with pytest.raises(SpecError) as error:
        loaded(text, folder)
    return [line.replace(str(folder / "file.yaml"), "file") for line in str(error.value).splitlines()]


def test_mistakes_of_names_have_their_lines(tmp_path: Path) -> None:
    text = FCN8S.replace("inputs: pool3", "inputs: poool3").replace("name: conv4_3", "name: conv4_2")
    text = text.replace("name: drop7", "name: logits").replace("[upscore8, image]", "[upscore8, image.size]")
    assert faults(text, tmp_path) == [
        "file:19: model.layers.14.name: 'conv4_2' is taken; give every layer a name of its own",
        "file:28: model.layers.23.name: 'logits' names the network's output; give every layer a name of its own",
        "file:35: model.layers.30.inputs: no layer above is called 'poool3'; did you mean \"pool3\"?",
        "file:39: model.layers.34.inputs: 'image' has no output 'size'; it has output",
    ]


def test_mistakes_of_arguments_have_their_lines(tmp_path: Path) -> None:
    text = FCN8S.replace("activation: relu", "activation: rulu", 1).replace("strides: 8}", "stride: 8}")
    assert faults(text, tmp_path) == [
        "file:7: model.layers.2: Conv2D refuses these arguments: "
        "Could not interpret activation function identifier: rulu",
        'file:38: model.layers.33.stride: unknown key; did you mean "strides"? Known keys: layer, name, '
        "inputs, trainable, filters, kernel_size, strides, padding, use_bias",
    ]


def test_layers_that_do_not_exist(tmp_path: Path) -> None:
    text = "type: graph\nlayers:\n  - {name: a, layer: convv}\n  - {name: b}\n  - conv"
    known = ", ".join(NODES)
    assert faults(text, tmp_path) == [
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
        "the last layer must give [batch, height, width, 3], a score for each class. Received: [None, None, None, 5]",
    ),
    (
        graph(SCORE, {"layer": "global_average_pooling"}),
        ("layers", 1),
        "the last layer must give [batch, height, width, 3], a score for each class. Received: [None, 3]",
    ),
    (
        graph(
            {"layer": "zero_padding", "padding": 3},
            SCORE,
            {"layer": "crop_like", "inputs": ("layer1", "image"), "offset": 2},
        ),
        ("layers", 2, "offset"),
        "the places of both inputs coincide at 3. Received: 2",
    ),
    (
        graph(SCORE, {**SCORE, "strides": 2}, {"layer": "crop_like", "inputs": ("layer1", "image"), "offset": 0}),
        ("layers", 2, "offset"),
        "Expected two tensors of one scale, to crop one to the other; resize or upsample one of them first. "
        "Received: deep.scale=1/2, reference.scale=1",
    ),
]


@pytest.mark.parametrize(("spec", "path", "message"), PROBLEMS)
def test_layers_that_do_not_fit(spec: Graph, path: tuple[str | int, ...], message: str) -> None:
    assert list(spec.problems(Context(LABELS, 3))) == [(path, message)]
    with pytest.raises(ModelError) as error:
        spec.build(LABELS)
    assert str(error.value) == f"model.{'.'.join(map(str, path))}: {message}"


def test_layers_that_cannot_read_their_inputs() -> None:
    [(path, message)] = graph(SCORE, {"layer": "add", "inputs": ("layer0", "image.output")}, SCORE).problems(
        Context(Labels(names=("a", "b")), 3)
    )
    assert path == ("layers", 1)
    assert message.startswith("Add cannot read its inputs: ")


def test_a_layer_that_fails_when_called() -> None:
    """Shapes do not tell that groups must divide the channels of the image."""
    spec = graph({"layer": "conv", "filters": 4, "kernel_size": 1, "groups": 2}, SCORE)
    with pytest.raises(ModelError) as error:
        spec.build(LABELS)
    assert str(error.value).startswith("model.layers.0: Conv2D cannot read its inputs: ")


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


def test_no_argument_of_a_constructor_is_missing_or_invented() -> None:
    fields = {field.name for field in dataclasses.fields(NODES["conv"])}
    assert fields == {
        "layer", "name", "inputs", "trainable", "filters", "kernel_size", "strides", "padding", "dilation_rate",
        "groups", "activation", "use_bias", "kernel_initializer", "bias_initializer", "kernel_regularizer",
        "bias_regularizer", "activity_regularizer", "kernel_constraint", "bias_constraint",
    }  # fmt: skip


WHOLE_IMAGE = {
    *("atrous_spatial_pyramid_pooling", "crf_rnn", "global_average_pooling", "global_max_pooling", "pyramid_pooling"),
}
"""Layers whose every place sees all of it."""


@pytest.mark.parametrize("name", sorted(set(NODES) - WHOLE_IMAGE))
def test_coordinates_know_every_layer(name: str) -> None:
    """Otherwise a net with it has no receptive field and its crops go unchecked."""
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
    missing = [each for each, value in kind.DEFAULTS.items() if value is inspect.Parameter.empty]
    needs_mode = ["mode"] if name == "normalize" else []
    made = kind(layer=name, name="x", **{each: required[each] for each in [*missing, *needs_mode]}).make(classes=2)
    assert seen(made, [ReceptiveField(), ReceptiveField()], axis=0).size >= 1


@pytest.mark.slow
def test_editors_get_a_schema(tmp_path: Path) -> None:
    schema = json_schema(File)
    written = yaml.safe_load(FCN8S)
    jsonschema.validate({"model": written}, schema)
    written["layers"][1]["paddding"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"model": written}, schema)


def test_upsampling_and_average_pooling_are_layers_of_a_graph() -> None:
    """Positions of both are known: a crop between them is checked, and the receptive field is counted."""
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


def test_the_last_layer_scores_every_pixel() -> None:
    half = {**SCORE, "strides": 2}
    [(path, message)] = graph(half).problems(Context(Labels(names=("a", "b", "c")), 3))
    assert path == ("layers", 0)
    assert message == (
        "the last layer must score every pixel, and what it gives lies 2 pixels apart. Add a resize_like that reads "
        "image too"
    )


def test_a_layer_that_is_no_word() -> None:
    with pytest.raises(SpecError, match="expected a layer; layers: activation"):
        Graph(layers=({"name": "a", "layer": {"type": "conv"}},))
