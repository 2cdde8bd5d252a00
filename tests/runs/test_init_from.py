"""Trainings that start from the network of another run: `training.init_from`."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfseg
from tfseg.cli.commands import main
from tfseg.labels import LABELS, labels_text
from tfseg.pipeline import Pipeline, load
from tfseg.spec.show import dump
from tfseg.training.outputs import single_output

TINY = """\
name: tiny
labels: {names: [ground, disc, square]}
data: {source: {type: shapes, size: 32, train: 4, val: 2}, batch_size: 2}
model:
  backbone: {type: small_cnn, filters: 2}
  decoder: {type: fcn, strides: [16, 8]}
training: {epochs: 2}
"""
OWN = """\
import keras

@keras.saving.register_keras_serializable("own")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x

COMPONENTS = {"layers": [Twice]}
"""
GRAPH = """\
name: graph
labels: {names: [ground, disc]}
data: {source: {type: shapes, size: 16, train: 2, val: 2}}
model: {type: graph, layers: [{name: score, layer: conv, filters: "${classes}", kernel_size: 1}]}
"""


class Started(Exception):
    """Stops a training at the call of `keras.Model.fit`."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path / "tiny.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tfseg.Run:
    folder = tmp_path_factory.mktemp("source")
    (folder / "tiny.yaml").write_text(TINY)
    untrained(load(folder / "tiny.yaml"), folder / "run")
    return tfseg.Run(folder / "run")


def started(pipeline: Pipeline, folder: Path, **options: Any) -> keras.Model:
    """Returns the network that a training starts from."""

    def fit(model: keras.Model, *_: Any, **__: Any) -> None:
        raise Started(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", fit)
        with pytest.raises(Started) as ended:
            tfseg.fit(pipeline, folder, **options)
    return ended.value.args[0]  # type: ignore[no-any-return]


def untrained(pipeline: Pipeline, folder: Path) -> keras.Model:
    """Writes a run directory with a network of random weights."""
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(dump(pipeline))
    (folder / LABELS).write_text(labels_text(pipeline.labels))
    model, rng = pipeline.build(), np.random.default_rng(4)
    model.set_weights([rng.uniform(0.1, 0.5, weight.shape) for weight in model.weights])
    model.save(folder / "model.keras")
    return model


def error_of(action: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(tfseg.TfsegError) as error:
        action(*arguments, **options)
    return str(error.value)


def test_a_training_starts_with_the_metrics_of_the_other_run(
    run: tfseg.Run, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights of the backbone are not read, so that their file need not exist."""
    pipeline = load(file, [f"training.init_from={run.folder}", "model.backbone.weights=lost.npz", "seed=5"])
    model = started(pipeline, tmp_path / "run")
    for ours, theirs in zip(model.weights, run.model().weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert capsys.readouterr().out.startswith(
        f"{run.folder}: the network's own names\n  filled     22 of 22 layers with weights\n  initial    none\n"
        "  left over  none\n  classes    all 3 the same\n"
    )
    model.save(tmp_path / "first.keras")
    assert tfseg.evaluate(tmp_path / "first.keras", pipeline=run.pipeline) == tfseg.evaluate(run)


def test_other_classes_precision_and_size(run: tfseg.Run, file: Path, tmp_path: Path) -> None:
    settings = ["labels.names=[disc, ring, ground]", "training.precision=mixed_bfloat16", "data.crop=16"]
    model = started(load(file, [f"training.init_from={run.best}", *settings]), tmp_path / "run", verbose=False)
    old, new = (np.asarray(each.get_layer("score_fr").kernel.value) for each in (run.model(), model))
    np.testing.assert_array_equal(new[..., [0, 2]], old[..., [1, 0]])


@pytest.mark.slow
def test_resumed_run_does_not_need_the_other_run(run: tfseg.Run, tmp_path: Path) -> None:
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    source, file = tmp_path / "source", tmp_path / "tiny.yaml"
    shutil.copytree(run.folder, source)
    file.write_text(TINY.replace("{epochs: 2}", "{epochs: 2, init_from: source}"))
    whole = tfseg.fit(load(file), tmp_path / "whole", verbose=False)
    with pytest.raises(KeyboardInterrupt):
        tfseg.fit(load(file), tmp_path / "run", callbacks=[Stop()], verbose=False)
    shutil.rmtree(source)
    assert main(["fit", str(tmp_path / "run"), "--resume", "--quiet"]) == 0
    resumed = tfseg.Run(tmp_path / "run")
    for name in ("model.keras", "last.keras"):
        for first, second in zip(whole.model(name).get_weights(), resumed.model(name).get_weights(), strict=True):
            np.testing.assert_array_equal(first, second)
    assert tfseg.evaluate(resumed)["miou"] == resumed.metrics["val"]["miou"]


def test_paths_are_checked_before_a_training(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path in the file is relative to its folder."""
    pipeline = load(file)
    untrained(pipeline, tmp_path / "good")
    for name in ("begun", "damaged"):
        shutil.copytree(tmp_path / "good", tmp_path / name)
    (tmp_path / "begun" / "model.keras").unlink()
    network = tmp_path / "damaged" / "model.keras"
    content = bytearray(network.read_bytes())
    content[len(content) // 2] ^= 1
    network.write_bytes(content)
    (tmp_path / "short.keras").write_bytes(content[:1000])
    (tmp_path / "notes.txt").write_text("no weights")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    missing = "no such file or run directory. Set it to one that exists, or to null"
    expected = {
        "lost": f"lost: {missing}",
        "circle": f"circle: {missing}",
        "begun": "begun: has no model.keras. Expected the run directory of a training with a validated epoch, or a "
        "weight file. Wait for the first validation, or use another run",
        "damaged": "damaged/model.keras: cannot be read as weights: ",
        "short.keras": "short.keras: cannot be read as weights: File is not a zip file. Download or create it again.",
        "notes.txt": "notes.txt: unsupported kind of weight file. Expected an .npz of named arrays, ",
    }
    for name, message in expected.items():
        file.write_text(TINY.replace("{epochs: 2}", f"{{epochs: 2, init_from: {name}}}"))
        assert main(["check", str(file)]) == 2
        assert capsys.readouterr().err.startswith(f"{file}:7: training.init_from: {tmp_path}/{message}")
        assert error_of(tfseg.fit, load(file), tmp_path / "new").startswith(f"training.init_from: {tmp_path}/{message}")
        assert load(file).training.init_from == tmp_path / name
    file.write_text(TINY.replace("{epochs: 2}", "{init_from: good}"))
    assert main(["check", str(file)]) == 0


@pytest.mark.parametrize("name", ["", "model.keras", "../link", "../link.keras", "../linked/run"])
def test_the_source_is_not_overwritten(name: str, run: tfseg.Run, file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder" / "run"
    shutil.copytree(run.folder, folder)
    (folder.parent / "link").symlink_to(folder)
    (folder.parent / "link.keras").symlink_to(folder / "model.keras")
    (folder.parent / "linked").symlink_to(folder.parent)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    pipeline = load(file, [f"training.init_from={folder / name}"])
    for target in (folder, folder.parent / "link"):
        assert error_of(tfseg.fit, pipeline, target, overwrite=True) == (
            f"training.init_from: {pipeline.training.init_from} is in the run directory {target}, whose files are "
            "deleted. Choose another folder with --run-dir."
        )
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_an_earlier_run_is_kept_if_no_layer_fits(run: tfseg.Run, file: Path, tmp_path: Path) -> None:
    untrained(load(file), tmp_path / "other")
    (tmp_path / "graph.yaml").write_text(GRAPH)
    kept = tmp_path / "kept"
    untrained(load(tmp_path / "graph.yaml"), kept)
    before = (kept / "model.keras").read_bytes()
    pipeline = load(tmp_path / "graph.yaml", [f"training.init_from={tmp_path / 'other'}"])
    assert error_of(tfseg.fit, pipeline, kept, overwrite=True, verbose=False).startswith(
        f"{tmp_path}/other, read with the network's own names, fills no layer of the network, which has score. "
        "Received: stage1_down, "
    )
    assert (kept / "model.keras").read_bytes() == before


def test_link_to_a_network_has_the_classes_of_its_run(
    run: tfseg.Run, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "best.keras").symlink_to(run.best)
    (tmp_path / LABELS).write_text("of something else")
    pipeline = load(file, [f"training.init_from={tmp_path / 'best.keras'}", "labels.names=[disc, ground, ring]"])
    started(pipeline, tmp_path / "run")
    assert "classes    matched 2: disc, ground; new 1: ring; dropped 1: square; filled: score_fr, score_stage3\n" in (
        capsys.readouterr().out
    )


def test_folded_batch_normalization_is_unfolded(run: tfseg.Run, file: Path, tmp_path: Path) -> None:
    """The statistics are measured on training images, and predictions stay the same."""
    source = tmp_path / "source"
    shutil.copytree(run.folder, source)
    network = run.model()
    layer = network.get_layer("stage1_down_bn")
    layer.set_weights([np.array(values) for values in ([1, 1], [0.5, 0.25], [0, 0], [1 - layer.epsilon] * 2)])
    network.save(source / "model.keras")
    model = started(load(file, [f"training.init_from={source}"]), tmp_path / "run", verbose=False)
    assert np.all(np.asarray(model.get_layer("stage1_down_bn").moving_variance) != 1 - layer.epsilon)
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.float32)
    expected, found = (np.asarray(each(image)) for each in (network, single_output(model)))
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_another_range_of_image_values(
    run: tfseg.Run, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    shutil.copytree(run.folder, source)
    fields = json.loads((source / LABELS).read_text())
    (source / LABELS).write_text(json.dumps({**fields, "dtype": "uint16", "value_range": [0, 9000]}))
    started(load(file, [f"training.init_from={source}"]), tmp_path / "run")
    assert (
        "\n  images     warning: the weights were trained on images of uint16 from [0.0, 9000.0], and this run has "
        "images of uint8\n"
    ) in capsys.readouterr().out


def test_layers_of_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins of the other run are imported if this pipeline has plugins, which the user has allowed."""
    (tmp_path / "own_twice.py").write_text(OWN)
    (tmp_path / "own_nothing.py").write_text("COMPONENTS = {}\n")
    (tmp_path / "graph.yaml").write_text(GRAPH)
    monkeypatch.syspath_prepend(tmp_path)
    layers = "model.layers=[{name: twice, layer: twice}, {name: score, layer: conv, filters: 2, kernel_size: 1}]"
    own = ["plugins=[own_twice]", layers]
    theirs = untrained(load(tmp_path / "graph.yaml", own, allow_plugins=True), tmp_path / "source")
    keras.saving.get_custom_objects().pop("own>Twice")
    for name in ("own_twice", "own_nothing"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    pipeline = load(tmp_path / "graph.yaml", [f"training.init_from={tmp_path / 'source'}"])
    assert error_of(tfseg.fit, pipeline, tmp_path / "run") == (
        f"training.init_from: {tmp_path}/source/model.keras: Keras cannot load it: the class Twice is not registered. "
        "Import the module that registers it; for the plugins of a run, use allow_plugins=True or --allow-plugins. "
        "Layers of plugins also require the plugins in this pipeline, under `plugins`."
    )
    allowed = load(
        tmp_path / "graph.yaml",
        ["plugins=[own_nothing]", f"training.init_from={tmp_path / 'source'}"],
        allow_plugins=True,
    )
    model = started(allowed, tmp_path / "run", verbose=False)
    np.testing.assert_array_equal(model.get_layer("score").kernel.numpy(), theirs.get_layer("score").kernel.numpy())
