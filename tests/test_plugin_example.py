"""Tests of the plugin package `examples/plugin`: each component from the pipeline file to the export."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import tfseg
from tests.processes import plain_environment
from tfseg.inference import Ensemble, Inference
from tfseg.models.backbone_features import backbone_features
from tfseg.models.decoders.unpooling import pools
from tfseg.models.nodes import NODES
from tfseg.pipeline import Pipeline, load
from tfseg.spec.slots import slots

PLUGIN = Path(__file__).resolve().parents[1] / "examples" / "plugin"
OVERRIDES = ("plugins=[tfseg_example]", "training.epochs=2")


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.syspath_prepend(PLUGIN)
    return load(PLUGIN / "stripes.yaml", OVERRIDES, allow_plugins=True)


def test_every_slot_has_a_component(pipeline: Pipeline) -> None:
    """Checks all slots except `model`, whose custom form is a graph."""
    own = sys.modules["tfseg_example"].COMPONENTS
    assert set(own) == set(slots(Pipeline)) - {"model"}


class FilesAtEpochEnd(keras.callbacks.Callback):
    """Records the files on disk at the end of each epoch."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.found = folder, []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.found.append((epoch, (self.folder / "last.keras").is_file(), "val_miou" in (logs or {})))


def test_components_from_file_to_export(pipeline: Pipeline, tmp_path: Path) -> None:
    recorded = FilesAtEpochEnd(tmp_path / "run")
    run = tfseg.fit(pipeline, tmp_path / "run", callbacks=[recorded], verbose=False)
    assert recorded.found == [(0, True, True), (1, True, True)], "custom callbacks run after saving"
    assert run.metrics["val"]["images"] == 8
    assert "val_worst_iou" in (tmp_path / "run" / "history.csv").read_text().splitlines()[0]
    assert pipeline.data.open(pipeline.labels).training_examples.count == 32, "quarters"
    model = run.model()
    assert {"stage1", "stage2", "score", "nearest", "smoothed"} <= {layer.name for layer in model.layers}
    assert model(np.zeros((1, 30, 21, 3))).shape == (1, 30, 21, 3)
    Image.new("RGB", (20, 30), "red").save(tmp_path / "a.png")
    masks = tfseg.predict(tmp_path / "run", tmp_path / "a.png", tmp_path / "masks", allow_plugins=True)
    assert masks == [tmp_path / "masks" / "a.png"]
    report = tfseg.export(tmp_path / "run", tmp_path / "saved", allow_plugins=True)
    assert report.tflite is not None and all(one.mask_agreement == 1 for one in report.comparisons)
    use = Inference(ensemble=Ensemble(network=tmp_path / "run"))
    with pytest.raises(tfseg.SpecError, match=r"runs their code.*Received: tfseg_example"):
        tfseg.evaluate(run, inference=use)
    both = tfseg.evaluate(run, inference=use, allow_plugins=True)
    assert both["miou"] == run.metrics["val"]["miou"], "ensemble of a network and itself"
    again = tfseg.fit(replace(pipeline, inference=use), tmp_path / "again", verbose=False)
    assert again.history[-1]["loss"] == run.history[-1]["loss"], "same seed, same training"


def test_custom_layer_from_file_to_export(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Checks that constructor arguments become keys, and that another process loads the layer from the run."""
    monkeypatch.syspath_prepend(PLUGIN)
    file, allowed = PLUGIN / "layer_by_layer.yaml", {"allow_plugins": True}
    written = load(file, OVERRIDES, **allowed)
    assert "softcap" not in NODES, "the plain type is untouched"
    run = tfseg.fit(written, tmp_path / "run", verbose=False)
    assert "layer: softcap" in (tmp_path / "run" / "pipeline.yaml").read_text()
    layer = run.model().get_layer("capped")
    assert (type(layer).__module__, layer.limit) == ("tfseg_example.layers", 8.0)
    x = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    assert float(np.abs(run.model()(x)).max()) <= 8
    report = tfseg.export(tmp_path / "run", tmp_path / "saved", **allowed)
    assert report.tflite is not None and all(one.mask_agreement == 1 for one in report.comparisons)
    code = f"import tfseg; print(tfseg.Run({str(tmp_path / 'run')!r}, allow_plugins=True).model().count_params())"
    environment = plain_environment() | {"PYTHONPATH": os.pathsep.join([str(PLUGIN), str(PLUGIN.parents[1])])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"{run.model().count_params()}\n", done.stderr
    done = subprocess.run(
        [sys.executable, "-c", code.replace("True", "False")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        "model.keras: Keras cannot load it: the class Softcap is not registered. Import the module that registers it; "
        "for the plugins of a run, use allow_plugins=True or --allow-plugins."
    ) in done.stderr
    with pytest.raises(tfseg.SpecError) as error:
        load(file, (*OVERRIDES, "model.layers.3.limit=[[[1]]]"), **allowed)
    assert "model.layers.3.limit.0.0: expected" in str(error.value)
    with pytest.raises(tfseg.SpecError) as error:
        load(file, (*OVERRIDES, "model.layers.3.layer=softcup"), **allowed)
    assert 'model.layers.3.layer: expected a layer; did you mean "softcap"?' in str(error.value)


LAYER = """
import keras

{register}
class Own(keras.layers.Layer):
    def __init__(self, {argument}, **kwargs):
        super().__init__(**kwargs)
        self.x = x

    def call(self, inputs):
        return inputs
{config}

COMPONENTS = {{"layers": [{component}]}}
"""
REGISTER = "@keras.saving.register_keras_serializable(package='own')"
CONFIG = """
    def get_config(self):
        return {**super().get_config(), "x": self.x}
"""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"component": "3"}, "expected a list of Keras layers; received 3"),
        (
            {"argument": "x=len"},
            "Own has the argument x, whose default cannot be written in a file; expected a number, a string, a list of "
            "these or a mapping. Received: <built-in function len>",
        ),
        (
            {"config": ""},
            "Own has no get_config, which a saved network needs to restore its arguments; return x from it",
        ),
        (
            {"register": ""},
            "Own is not registered, which loading a saved network requires; decorate it with "
            '@keras.saving.register_keras_serializable(package="…")',
        ),
    ],
)
def test_requirements_of_custom_layers(
    changes: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"own_layer_{abs(hash((message, str(tmp_path))))}"
    parts = {"register": REGISTER, "argument": "x=1", "config": CONFIG, "component": "Own", **changes}
    (tmp_path / f"{name}.py").write_text(LAYER.format(**parts))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(tfseg.SpecError) as error:
        load("shapes", (f"plugins=[{name}]",), allow_plugins=True)
    assert [each.message for each in error.value.problems] == [f'the module "{name}", slot "layers": {message}']


def test_custom_layer_with_an_existing_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = LAYER.format(register=REGISTER, argument="x=1", config=CONFIG, component="Conv2D")
    (tmp_path / "own_conv.py").write_text(text.replace("class Own", "class Conv2D"))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(tfseg.SpecError) as error:
        load("shapes", ("plugins=[own_conv]",), allow_plugins=True)
    (problem,) = error.value.problems
    assert problem.message.startswith('two components have the type "conv": keras.') and "own_conv." in problem.message


def test_custom_layer_with_incomplete_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.replace('"x": self.x', "")
    text = LAYER.format(register=REGISTER, argument="x=1", config=config, component="Own")
    (tmp_path / "own_forgetful.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(tfseg.SpecError) as error:
        load(
            PLUGIN / "layer_by_layer.yaml",
            ("plugins=[own_forgetful]", "model.layers=[{name: a, layer: own}]", "data.source=shapes"),
            allow_plugins=True,
        )
    assert "Own cannot be reloaded: its get_config lacks x" in str(error.value)


def test_custom_mask(pipeline: Pipeline, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / split / "images" / "a.png")
        mask = Image.fromarray(np.repeat(np.arange(4, dtype=np.uint8), 16).reshape(8, 8))
        mask.save(tmp_path / split / "masks" / "a.png")
    other = load(
        PLUGIN / "stripes.yaml",
        (*OVERRIDES, f"data={{source: {{type: folder, mask: one_higher}}, root: {tmp_path}}}"),
        allow_plugins=True,
    )
    ((_, mask),) = other.data.open(other.labels).evaluation("val").as_numpy_iterator()
    np.testing.assert_array_equal(mask[0, ::2, 0], [255, 0, 1, 2])


def test_backbone_of_type_and_call(pipeline: Pipeline) -> None:
    """Checks that strides and pool indices are derived from the layers that the backbone builds."""
    features = backbone_features(pipeline.model.backbone, 3)
    assert (features.strides, features.output_stride, pools(features)) == ((2, 4), 4, ())
    assert type(pipeline.model.backbone).__name__ == "TwoStages"


@pytest.mark.slow
def test_installed_package_needs_no_allow_plugins(tmp_path: Path) -> None:
    shutil.copytree(PLUGIN, tmp_path / "plugin", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "site")]
    outcome = subprocess.run([*command, str(tmp_path / "plugin")], capture_output=True, text=True, check=False)
    if "Could not find a version that satisfies the requirement setuptools" in outcome.stderr:
        pytest.skip("needs the network, for setuptools")
    assert outcome.returncode == 0, outcome.stderr
    folders = [str(tmp_path / "site"), str(PLUGIN.parents[1])]
    environment = plain_environment() | {"PYTHONPATH": os.pathsep.join(folders)}
    words = ["fit", str(PLUGIN / "stripes.yaml"), "training.epochs=1", "--run-dir", str(tmp_path / "run"), "-q"]
    for verb in (words, ["export", str(tmp_path / "run"), "--output", str(tmp_path / "saved"), "-q"]):
        command = [sys.executable, "-m", "tfseg", *verb]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "saved" / "stripes" / "1" / "saved_model.pb").is_file()


@pytest.mark.parametrize(
    ("slot", "body", "message"),
    [
        ("backbone", "", "Own has no __call__; required by Backbone"),
        ("optimizer", "", "Own has no __call__ and no learning_rate; required by OptimizerSpec"),
        (
            "optimizer",
            "    def __call__(self, schedule, **how): ...",
            "Own has no learning_rate; required by OptimizerSpec",
        ),
        ("source", "    def splits(self, root): ...", "Own has no listing and no examples; required by Source"),
    ],
)
def test_required_attributes_of_a_slot(
    slot: str, body: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"own_{abs(hash((slot, body, str(tmp_path))))}"
    (tmp_path / f"{name}.py").write_text(
        "from typing import Literal\nfrom tfseg.spec import spec\n\n@spec\nclass Own:\n"
        f'    type: Literal["own"] = "own"\n{body}\n\nCOMPONENTS = {{"{slot}": [Own]}}\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(tfseg.SpecError) as error:
        load("shapes", (f"plugins=[{name}]",), allow_plugins=True)
    assert [each.message for each in error.value.problems] == [message]
