"""`tfseg import`: run directories from pretrained weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfseg
from tests.weights.foreign import save_checkpoint
from tests.weights.test_slim import mobilenet_v2
from tfseg.cli.commands import main
from tfseg.pipeline import load

TINY = """\
name: tiny
labels: {names: [ground, disc, square]}
data:
  source: {type: shapes, size: 65, train: 4, val: 3}
  batch_size: 2
model:
  backbone: {type: mobilenet_v2, width_multiplier: 0.125, divisor: 4, output_stride: 16}
  decoder: {type: deeplab_v3, rates: [], filters: 4}
training: {epochs: 1}
inference: {size: [33, 49]}
export: {examples: 1}
"""
GRAPH = """\
name: graph
labels: {names: [ground, disc, square]}
data: {source: {type: shapes, size: 16, train: 2, val: 2}}
model: {type: graph, layers: [{name: score, layer: conv, filters: 3, kernel_size: 1}]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path / "tiny.yaml"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "model.ckpt", mobilenet_v2().arrays)


@pytest.mark.slow
@pytest.mark.usefixtures("one_isolated_worker")
def test_import_evaluate_and_export(
    file: Path, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert main(["import", str(file), str(weights), "--run-dir", str(folder), "seed=3"]) == 0
    assert capfd.readouterr().out == (
        f"{weights}: TF-slim names\n  filled     109 of 109 layers with weights\n  initial    none\n"
        f"  left over  none\nRun saved to {folder}\n"
    )
    run = tfseg.Run(folder)
    assert {path.name for path in folder.iterdir()} == {
        ".lock", "labels.json", "model.keras", "pipeline.yaml", "state",
    }  # fmt: skip
    assert run.pipeline == load(file, ["seed=3"])
    assert json.loads((folder / "labels.json").read_text())["names"] == ["ground", "disc", "square"]
    arrays = mobilenet_v2().arrays
    np.testing.assert_array_equal(
        run.model().get_layer("block_5_expand").kernel, arrays["MobilenetV2/expanded_conv_5/expand/weights"]
    )
    assert tfseg.evaluate(run)["images"] == 3
    assert run.metrics["val"]["split"] == "val"
    report = tfseg.export(run, tmp_path / "saved")
    assert report.folder == tmp_path / "saved" / "tiny" / "1"


def test_images_are_resized_to_the_inference_size(tmp_path: Path) -> None:
    """The network selects the brightest channel of each pixel. Resized to half its size, a checkerboard is gray."""
    (tmp_path / "graph.yaml").write_text(GRAPH + "inference: {size: [8, 12]}\n")
    np.savez(tmp_path / "eye.npz", **{"score/kernel": np.eye(3, dtype=np.float32)[None, None], "score/bias": [0, 9, 0]})
    run = tmp_path / "run"
    tfseg.import_weights(load(tmp_path / "graph.yaml"), tmp_path / "eye.npz", run)
    board = np.zeros((16, 24, 3), np.uint8)
    board[::2, ::2, 0] = board[1::2, 1::2, 0] = 200  # class 0 at every other pixel, where the others are class 1
    Image.fromarray(board).save(tmp_path / "a.png")
    (mask,) = tfseg.predict(run, [tmp_path / "a.png"], tmp_path / "masks")
    assert np.asarray(Image.open(mask)).shape == (16, 24)
    assert np.unique(np.asarray(Image.open(mask))).tolist() == [0]
    own = tfseg.inference.Predictor(tfseg.load_model(run / "model.keras"))
    assert np.unique(own.predict(board)).tolist() == [0, 1]


def test_run_is_kept_without_overwrite(file: Path, weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    tfseg.import_weights(load(file), weights, folder)
    kept = (folder / "model.keras").read_bytes()
    for action in (tfseg.import_weights, lambda *_: tfseg.fit(load(file), folder)):
        with pytest.raises(tfseg.RunError) as error:
            action(load(file), weights, folder)
        assert str(error.value) == (
            f"{folder}: contains a finished run. Choose another folder with --run-dir, or delete it with --overwrite."
        )
    with pytest.raises(tfseg.WeightsError):
        tfseg.import_weights(load(file, ["labels.names=[a, b]"]), weights, folder, overwrite=True)
    assert (folder / "model.keras").read_bytes() == kept
    tfseg.import_weights(load(file, ["seed=9"]), weights, folder, overwrite=True)
    assert tfseg.Run(folder).pipeline.seed == 9


def test_mismatch_is_reported_and_nothing_is_written(
    file: Path, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert main(["import", str(file), str(weights), "--run-dir", str(folder), "labels.names=[a, b]"]) == 1
    printed = capfd.readouterr()
    assert printed.out == "" and "Traceback" not in printed.err
    assert "  score: the file has 3 classes (logits/semantic/weights), but the pipeline has 2 labels\n" in printed.err
    assert not list(folder.iterdir())
    assert main(["import", str(file), str(tmp_path / "none.npz"), "--run-dir", str(folder)]) == 1
    assert f"{tmp_path}/none.npz: no such weight file." in capfd.readouterr().err


def test_weights_argument_is_required(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(file)]) == 2
    assert f"Expected FILE and WEIGHTS. Received: {file}" in capfd.readouterr().err


def test_imported_run_as_pretrained_weights(file: Path, weights: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tfseg.import_weights(load(file), weights, run)
    pipeline = load(file, [f"model.backbone.weights={run}/model.keras", "model.backbone.output_stride=8"])
    model = pipeline.build()
    report = pipeline.model.load_weights(model)
    assert (report.unused, report.folded) == ((), ())
    for first, second in zip(model.get_weights(), tfseg.load_model(run / "model.keras").get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_pretrained_weights_may_be_any_file_that_can_be_imported(file: Path, weights: Path) -> None:
    """The report is the same as that of an import."""
    pipeline = load(file, [f"model.backbone.weights={weights}", "model.decoder={type: fcn, strides: [16]}"])
    model = pipeline.build()
    assert str(pipeline.model.load_weights(model)) == (
        f"{weights}: TF-slim names\n  filled     102 of 103 layers with weights\n"
        "  initial    score_fr\n"
        "  left over  aspp0/BatchNorm, aspp0, concat_projection/BatchNorm, concat_projection, "
        "image_pooling/BatchNorm, image_pooling … and 1 more"
    )
    arrays = mobilenet_v2().arrays
    np.testing.assert_array_equal(model.get_layer("Conv1").kernel, arrays["MobilenetV2/Conv/weights"])


def test_import_into_a_graph(tmp_path: Path) -> None:
    (tmp_path / "graph.yaml").write_text(GRAPH)
    arrays = {"score/kernel": np.ones((1, 1, 3, 3), np.float32), "score/bias": np.arange(3, dtype=np.float32)}
    np.savez(tmp_path / "whole.npz", **arrays)
    np.savez(tmp_path / "half.npz", **{"score/kernel": arrays["score/kernel"]})
    report = tfseg.import_weights(load(tmp_path / "graph.yaml"), tmp_path / "whole.npz", tmp_path / "run")
    assert (report.filled, report.naming) == (("score",), "the network's own names")
    with pytest.raises(tfseg.WeightsError, match="score: not in the file; expected score/bias"):
        tfseg.import_weights(load(tmp_path / "graph.yaml"), tmp_path / "half.npz", tmp_path / "other")
