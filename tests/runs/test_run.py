"""The main job at the level of Python: fit, evaluate, predict, export, and what is refused."""

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfseg
from tfseg.atomic import atomic_file, remove
from tfseg.backbones import SmallCnn
from tfseg.inference import Ensemble, Inference, Predictor
from tfseg.metrics import BoundaryIoU, TrimapMeanIoU
from tfseg.pipeline import Pipeline, load
from tfseg.runs.import_weights import import_weights
from tfseg.runs.lock import claim
from tfseg.spec.show import dump

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("one_isolated_worker")
TINY = """\
name: tiny
labels: {names: [ground, disc, square]}
data:
  source: {type: shapes, size: 32, train: 8, val: 3}
  batch_size: 4
  augment: [flip]
model:
  backbone: {type: small_cnn, filters: 4}
  decoder: {type: fcn, strides: [16, 8, 4]}
training: {epochs: 2}
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    file = tmp_path_factory.mktemp("files") / "tiny.yaml"
    file.write_text(TINY)
    return load(file)


@pytest.fixture(scope="module")
def run(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> tfseg.Run:
    return tfseg.fit(pipeline, tmp_path_factory.mktemp("runs") / "tiny", verbose=False)


def refusal(action: object, *args: object, **kwargs: object) -> str:
    with pytest.raises(tfseg.TfsegError) as caught:
        action(*args, **kwargs)  # type: ignore[operator]
    return str(caught.value)


def test_what_a_run_leaves(run: tfseg.Run, pipeline: Pipeline) -> None:
    left = {path.name for path in run.folder.iterdir()}
    assert {"model.keras", "last.keras", "pipeline.yaml", "labels.json", "history.csv", "logs", "state"} <= left
    assert "metrics-val.json" in left
    assert run.pipeline == pipeline
    assert json.loads((run.folder / "labels.json").read_text())["names"] == ["ground", "disc", "square"]
    with open(run.folder / "history.csv", newline="") as lines:
        assert [row["epoch"] for row in csv.DictReader(lines)] == ["1", "2"]
    assert [row["epoch"] for row in run.history] == [1.0, 2.0]


def test_the_metrics_file_holds_what_the_interface_promises(run: tfseg.Run) -> None:
    metrics = json.loads((run.folder / "metrics-val.json").read_text())
    assert metrics == run.metrics["val"]
    promised = {"split", "images", "miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "per_class"}
    assert promised | {"boundary", "confusion", "pipeline_sha256", "versions"} <= set(metrics)
    assert metrics["images"] == 3 and np.sum(metrics["confusion"]) == 3 * 32 * 32
    assert metrics["versions"]["keras"] == keras.__version__


def test_the_metrics_file_tells_of_boundaries(run: tfseg.Run) -> None:
    """As the metrics find it from the masks of the best network and those of the data, image by image."""
    data, labels = run.pipeline.data, run.pipeline.labels
    metrics = BoundaryIoU(labels.count), TrimapMeanIoU(labels.count)
    predictor = Predictor.open(run.best)
    for image, mask in data.open(labels).evaluation("val").as_numpy_iterator():
        for metric in metrics:
            metric.update_state(mask, predictor.masks(image).astype(int))
    boundary = run.metrics["val"]["boundary"]
    assert boundary == {**metrics[0].report(labels.names), "trimap_miou": metrics[1].report()}
    assert 0 < boundary["iou"] < 1 and list(boundary["trimap_miou"]) == ["1", "2", "3", "5", "10", "15", "20"]


def test_fit_and_evaluate_agree_on_the_best_epoch(run: tfseg.Run) -> None:
    assert run.metrics["val"]["miou"] == pytest.approx(max(row["val_miou"] for row in run.history), abs=1e-6)


def test_the_same_seed_gives_the_same_weights(run: tfseg.Run, pipeline: Pipeline, tmp_path: Path) -> None:
    again = tfseg.fit(pipeline, tmp_path / "again", verbose=False)
    for first, second in zip(run.model().get_weights(), again.model().get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_resumed_training_ends_where_an_unbroken_one_does(
    run: tfseg.Run, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    make = type(pipeline.training).callbacks
    with monkeypatch.context() as patched:
        patched.setattr(type(pipeline.training), "callbacks", lambda *a, **k: [*make(*a, **k), Stop()])
        with pytest.raises(KeyboardInterrupt):
            tfseg.fit(pipeline, tmp_path / "run", verbose=False)
    assert refusal(tfseg.fit, pipeline, tmp_path / "run", verbose=False) == (
        f"{tmp_path}/run: holds an unfinished run. Go on with it with --resume, delete it with --overwrite, or name "
        "another folder with --run-dir."
    )
    resumed = tfseg.fit(pipeline, tmp_path / "run", resume=True, verbose=False)
    assert [row["epoch"] for row in resumed.history] == [1.0, 2.0]
    for first, second in zip(
        run.model("last.keras").get_weights(), resumed.model("last.keras").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_a_finished_run_is_kept_unless_overwritten(pipeline: Pipeline, run: tfseg.Run, tmp_path: Path) -> None:
    kept = (run.folder / "model.keras").read_bytes()
    for resume in (False, True):
        assert refusal(tfseg.fit, pipeline, run.folder, resume=resume, verbose=False) == (
            f"{run.folder}: holds a finished run. Name another folder with --run-dir, or delete it with --overwrite."
        )
    assert (run.folder / "model.keras").read_bytes() == kept


def test_overwrite_replaces_a_run_and_nothing_else(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    message = (
        f"{tmp_path}: holds files that are no run, which --overwrite will not delete. "
        "Name another folder with --run-dir."
    )
    assert refusal(tfseg.fit, pipeline, tmp_path, overwrite=True) == message
    assert refusal(tfseg.fit, pipeline, tmp_path) == (
        f"{tmp_path}: holds files that are no run. Name another folder with --run-dir."
    )
    for part in ("pipeline.yaml", "labels.json", "model.keras"):
        (tmp_path / part).write_text("of an earlier run")
    with claim(tmp_path, pipeline, resume=False, overwrite=True) as claimed:
        claimed.begin()
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.txt", ".lock"}


def test_a_lock_of_somebody_else_is_no_run(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("of another program")
    assert refusal(tfseg.fit, pipeline, tmp_path, verbose=False) == (
        f"{tmp_path}: holds files that are no run. Name another folder with --run-dir."
    )
    assert (tmp_path / ".lock").read_text() == "of another program"


def test_an_earlier_run_stays_whole_until_the_new_one_is_ready(run: tfseg.Run, pipeline: Pipeline) -> None:
    kept = (run.folder / "model.keras").read_bytes()
    lost = replace(pipeline, model=replace(pipeline.model, backbone=SmallCnn(filters=4, weights=Path("lost.npz"))))
    assert refusal(tfseg.fit, lost, run.folder, overwrite=True, verbose=False) == (
        "lost.npz: no such weight file. "
        "Set model.backbone.weights to a file that exists, or to null to start from random weights."
    )
    assert (run.folder / "model.keras").read_bytes() == kept


def test_a_lock_that_is_a_pipe_is_not_waited_for(pipeline: Pipeline, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".lock")
    assert refusal(tfseg.fit, pipeline, tmp_path) == (
        f"{tmp_path}: its .lock is no file. Name another folder with --run-dir."
    )


def test_a_run_that_never_ended_an_epoch_may_be_started_again(pipeline: Pipeline, tmp_path: Path) -> None:
    for part in ("pipeline.yaml", "labels.json"):
        (tmp_path / part).write_text("of a run that was stopped early")
    with claim(tmp_path, pipeline, resume=False, overwrite=False) as claimed:
        claimed.begin()
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def test_links_are_unlinked_and_never_followed(pipeline: Pipeline, tmp_path: Path) -> None:
    folder, logs, file = tmp_path / "run", tmp_path / "elsewhere", tmp_path / "thesis.txt"
    for made in (folder, logs):
        made.mkdir()
    (logs / "events").write_text("of other trainings")
    file.write_text("years of work")
    for part in ("pipeline.yaml", "labels.json"):
        (folder / part).write_text("of an earlier run")
    (folder / "logs").symlink_to(logs)
    (folder / ".lock").symlink_to(file)
    (folder / "model.keras").symlink_to(file)
    with claim(folder, pipeline, resume=False, overwrite=True) as claimed:
        claimed.begin()
    assert {path.name for path in folder.iterdir()} == {".lock"}
    assert (logs / "events").read_text() == "of other trainings"
    assert file.read_text() == "years of work"


def test_a_deletion_that_is_cut_off_leaves_a_run(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it ends, the folder can be overwritten once more, and does not pass for a finished run."""
    parts = ["state", "logs", "metrics-val.json", "history.csv", "last.keras", "model.keras", "labels.json"]
    for last in range(len(parts) + 1):
        folder = tmp_path / f"run{last}"
        (folder / "state").mkdir(parents=True)
        for part in (*parts[2:], "pipeline.yaml", "state/finished", "logs"):
            (folder / part).write_text("of an earlier run")
        deleted = []

        def cut_off(path: Path, last: int = last, deleted: list[Path] = deleted) -> None:
            if len(deleted) == last:
                raise KeyboardInterrupt
            deleted.append(path)
            remove(path)

        monkeypatch.setattr("tfseg.runs.lock.remove", cut_off)
        with pytest.raises(KeyboardInterrupt), claim(folder, pipeline, resume=False, overwrite=True) as claimed:
            claimed.begin()
        monkeypatch.undo()
        assert (folder / "state" / "finished").exists() == (last == 0)
        with claim(folder, pipeline, resume=False, overwrite=True) as claimed:
            claimed.begin()
        assert {path.name for path in folder.iterdir()} == {".lock"}


def test_what_killed_writers_left_is_swept(pipeline: Pipeline, tmp_path: Path) -> None:
    """But nothing that is being written, and nothing that is no temporary file."""
    (tmp_path / "state").mkdir()
    dead = [".model-a1b2.keras", ".last-a1b2.keras", ".metrics-val-a1b2.json", "state/.12-a1b2.npz"]
    kept = [".model-notes.txt", ".models.keras", "state/12-0123456789abcdef.npz"]
    for name in (*dead, *kept):
        (tmp_path / name).write_text("half")
    (tmp_path / "pipeline.yaml").write_text(dump(pipeline))
    (tmp_path / ".model-folder.keras").mkdir()
    with atomic_file(tmp_path / "metrics-val.json") as partial:
        with claim(tmp_path, pipeline, resume=True, overwrite=False) as claimed:
            claimed.begin()
        assert partial.exists()
        partial.write_text("whole")
    assert (tmp_path / "metrics-val.json").read_text() == "whole"
    assert not [name for name in dead if (tmp_path / name).exists()]
    assert [name for name in kept if (tmp_path / name).exists()] == kept
    assert (tmp_path / ".model-folder.keras").is_dir()


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("resume", [True, False])
def test_a_first_state_that_cannot_be_written(
    run: tfseg.Run, pipeline: Pipeline, tmp_path: Path, resume: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is true, and the training begins again from the weights that its file names."""
    pretrained = replace(pipeline.model.backbone, weights=run.best)
    pipeline = replace(pipeline, model=replace(pipeline.model, backbone=pretrained))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("tfseg.training.state.np.savez", full)
        words = refusal(tfseg.fit, pipeline, tmp_path / "run", verbose=False)
    steps = pipeline.data.open(pipeline.labels).steps_per_epoch
    assert words == (
        f"{tmp_path}/run/state/{steps}.npz: could not be written (No space left on device); no partial file was "
        "left. Free disk space, and start again, since no epoch was completed"
    )
    begun = []
    monkeypatch.setattr(keras.Model, "fit", lambda model, *_, **__: begun.append(model.get_weights()))
    monkeypatch.setattr("tfseg.runs.fit.measure_batch_norm", lambda *_: (_ for _ in ()).throw(InterruptedError))
    with pytest.raises(InterruptedError):
        tfseg.fit(pipeline, tmp_path / "run", resume=resume, verbose=False)
    first = next(weight for weight in run.model().weights if weight.path.endswith("kernel"))
    assert any(np.array_equal(first, each) for each in begun[0])


def test_a_training_goes_on_with_the_pipeline_that_it_was_started_with(
    run: tfseg.Run, pipeline: Pipeline, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "state" / "finished").unlink()
    other = replace(pipeline, seed=7, labels=tfseg.Labels(names=("ground", "disc", "box")))
    assert refusal(tfseg.fit, other, tmp_path / "run", resume=True) == (
        f"{tmp_path}/run: was started with another pipeline. It differs in seed, labels.names. "
        "Resume with the pipeline that the run was started with, or name another folder with --run-dir."
    )
    assert tfseg.Run(tmp_path / "run").pipeline == pipeline


def test_measuring_an_unfinished_run_does_not_finish_it(run: tfseg.Run, pipeline: Pipeline, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "state" / "finished").unlink()
    tfseg.evaluate(tmp_path / "run")
    with claim(tmp_path / "run", pipeline, resume=True, overwrite=False):
        pass


def test_measuring_on_other_data_leaves_the_runs_own_metrics(run: tfseg.Run, pipeline: Pipeline) -> None:
    other = replace(pipeline, data=replace(pipeline.data, source=replace(pipeline.data.source, val=5)))
    assert tfseg.evaluate(run, pipeline=other)["images"] == 5
    assert json.loads((run.folder / "metrics-val.json").read_text())["images"] == 3


def test_a_network_of_other_classes_than_the_pipelines(run: tfseg.Run, pipeline: Pipeline) -> None:
    other = replace(pipeline, labels=tfseg.Labels(names=("ground", "disc")))
    assert refusal(tfseg.evaluate, run, pipeline=other) == (
        f"{run.folder}/model.keras: tells 3 classes apart in images of 3 channels. Received: a pipeline of 2 classes "
        "and 3 channels. Measure it with the pipeline that it was trained with."
    )


def test_classes_of_another_order(run: tfseg.Run, pipeline: Pipeline, tmp_path: Path) -> None:
    """Names are compared wherever both are known: by evaluate, whatever the file, by import, and for an ensemble."""
    turned = tfseg.Labels(names=("disc", "ground", "square"))
    other = replace(pipeline, labels=turned)
    words = "class 0 is called ground. Expected: disc"
    shutil.copytree(run.folder, tmp_path / "copy")
    for source in (run, run.folder, run.best):
        assert refusal(tfseg.evaluate, source, pipeline=other) == (
            f"{run.best}: {words}, as in the pipeline whose data measure it. Give that pipeline the labels of the "
            "training, in their order."
        )
    assert refusal(import_weights, other, run.best, tmp_path / "imported") == (
        f"{run.best}: {words}, as in the pipeline. Give that the labels of the weights, in order."
    )
    twice = replace(other, inference=Inference(ensemble=Ensemble(network=run.folder)))
    assert refusal(tfseg.fit, twice, tmp_path / "twice", verbose=False) == (
        f"inference.ensemble.network: {words}, as in the first network. Train both with labels in one order."
    )
    (tmp_path / "copy" / "labels.json").unlink()
    assert tfseg.evaluate(tmp_path / "copy" / "model.keras", pipeline=other)["images"] == 3


def test_a_run_directory_in_use(pipeline: Pipeline, tmp_path: Path) -> None:
    with claim(tmp_path, pipeline, resume=False, overwrite=False):
        assert refusal(tfseg.fit, pipeline, tmp_path, overwrite=True, verbose=False) == (
            f"{tmp_path}: in use by another training. Wait until it ends, or name another folder with --run-dir."
        )


def test_a_run_directory_that_cannot_be_made(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refusal(tfseg.fit, pipeline, tmp_path / "file" / "run", verbose=False) == (
        f"{tmp_path}/file/run: cannot be written (Not a directory). Expected a folder that may be made or written; "
        "name another with --run-dir."
    )


def test_nothing_to_resume(pipeline: Pipeline, tmp_path: Path) -> None:
    assert refusal(tfseg.fit, pipeline, tmp_path / "new", resume=True, verbose=False) == (
        f"{tmp_path}/new: nothing to go on with; no run was begun there. Start it without --resume."
    )
    assert refusal(tfseg.fit, pipeline, tmp_path / "new", resume=True, overwrite=True) == (
        "--resume and --overwrite: expected one. The first goes on with a run, the second deletes it."
    )


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    assert refusal(tfseg.Run, tmp_path) == (
        f"{tmp_path}: is no run directory. Expected the file pipeline.yaml in it. "
        f"Make one with: tfseg fit FILE --run-dir {tmp_path}"
    )
    assert refusal(tfseg.load_model, tmp_path / "model.keras") == (
        f"{tmp_path}/model.keras: no file. Expected a .keras file or a run directory. Received: nothing by that name."
    )
    (tmp_path / "1").mkdir()
    assert refusal(tfseg.load_model, tmp_path / "1") == (
        f"{tmp_path}/1: no file. Expected a .keras file or a run directory. Received: a folder."
    )
    assert refusal(tfseg.evaluate, tmp_path / "none") == (
        f"{tmp_path}/none: no such model. Expected a run directory, a .keras file, a SavedModel folder or a "
        ".tflite file."
    )
    (tmp_path / "model.keras").write_text("no model")
    words = refusal(tfseg.load_model, tmp_path / "model.keras")
    assert words.startswith(f"{tmp_path}/model.keras: Keras cannot read it as a model: ")
    assert words.endswith(". Expected a .keras file as `tfseg fit` writes it.")


def test_a_refused_training_leaves_a_foreign_folder_as_it_was(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert refusal(tfseg.fit, pipeline, tmp_path, verbose=False) == (
        f"{tmp_path}: holds files that are no run. Name another folder with --run-dir."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_result_that_cannot_be_written_is_noticed_before_anything_is_measured(
    run: tfseg.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfseg.runs.evaluate.predictor_of", None)
    (tmp_path / "file").touch()
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "file" / "x", "File exists")):
        assert refusal(tfseg.evaluate, run, output=path) == (
            f"{path}: cannot be written ({reason}). Expected a file in a writable folder."
        )
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_told_with_the_file_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(OSError) as error, atomic_file(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert error.value.filename == str(tmp_path / "a.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as error, atomic_file(tmp_path / "folder"):
        pass
    assert error.value.filename == str(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_memory_that_runs_out_is_told_with_what_to_make_smaller(
    run: tfseg.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def oom(*_: Any, **__: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor")

    def numpy(*_: Any, **__: Any) -> None:
        raise MemoryError("Unable to allocate 27.9 GiB")

    words = "there is not enough memory ({}). Make smaller: {}"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr("tfseg.inference.engines.KerasEngine.masks", oom)
    told = words.format("OOM when allocating a tensor", "inference.size, or the images")
    assert refusal(tfseg.predict, run, tmp_path / "a.png", tmp_path / "masks") == told
    assert refusal(tfseg.evaluate, run) == told
    monkeypatch.setattr("tfseg.runs.export.export_model", numpy)
    assert refusal(tfseg.export, run, tmp_path / "saved") == words.format(
        "Unable to allocate 27.9 GiB", "export.tflite.size, inference.size, or the images"
    )


def test_damaged_records_are_named(run: tfseg.Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy)
    for text in ("{", "[]", "[" * 100_000, "3"):
        (copy / "metrics-val.json").write_text(text)
        assert refusal(lambda: tfseg.Run(copy).metrics) == (
            f"{copy}/metrics-val.json: is damaged. Expected what `tfseg evaluate` writes. Delete it, or measure again."
        )
    for text in ("epoch,loss\n1,x\n", "epoch\n1,2,3\n", "epoch\n\0\xff\n"):
        (copy / "history.csv").write_text(text, encoding="latin-1")
        assert refusal(lambda: tfseg.Run(copy).history) == (
            f"{copy}/history.csv: is damaged. Expected a table of numbers. Restore it or delete it."
        )


def test_data_that_are_missing_are_noticed_before_a_network_is_built(tmp_path: Path) -> None:
    pipeline = load("fcn_mobilenet_v2_camvid")
    assert refusal(tfseg.fit, pipeline, tmp_path / "run", verbose=False) == (
        "data.root: the source camvid reads files; expected the folder of the dataset; received none. "
        "Set it in the file, or add data.root=FOLDER to the command"
    )


def test_every_artifact_of_an_export_measures_the_same(run: tfseg.Run, tmp_path: Path) -> None:
    report = tfseg.export(run, tmp_path, ["inference.crf={parameters: deeplab_v1}"])
    assert report.folder == tmp_path / "tiny" / "1"
    assert report.left_out == ("inference.crf",)
    assert str(report).endswith("\n  without inference.crf: what tfseg does around a network is not in an export")
    assert refusal(tfseg.evaluate, report.folder) == (
        f"{report.folder}: does not say which data to measure it on. Expected a run directory, or a pipeline as well "
        "(--pipeline FILE)."
    )
    for artifact in (report.folder, report.tflite):
        measured = tfseg.evaluate(artifact, pipeline=run.pipeline)
        assert measured["confusion"] == run.metrics["val"]["confusion"]


MIRRORED = """
import sys, tensorflow as tf
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import tfseg
pipeline = tfseg.load(sys.argv[1], ["training.strategy=mirrored"])
print(tfseg.fit(pipeline, sys.argv[2], verbose=False).history[-1]["val_miou"])
"""


def test_a_training_on_two_devices_ends_like_one_on_one(run: tfseg.Run, pipeline: Pipeline, tmp_path: Path) -> None:
    """Three validation images for two devices, a dropout-free network: weights differ by rounding alone, about 1e-6."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = [sys.executable, "-c", MIRRORED, str(tmp_path / "tiny.yaml"), str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    two = tfseg.Run(tmp_path / "two")
    assert float(done.stdout.split()[-1]) == pytest.approx(run.history[-1]["val_miou"], abs=1e-3)
    assert two.metrics["val"]["images"] == 3
    first, second = (one.model("last.keras").get_weights() for one in (run, two))
    for left, right in zip(first, second, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4)


def test_predict_writes_index_masks_of_the_images_own_size(run: tfseg.Run, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((41, 67, 3), np.uint8)).save(tmp_path / "dark.jpg")
    mask, overlay = tfseg.predict(run, [tmp_path / "dark.jpg"], tmp_path / "out", overlay=True)
    with Image.open(mask) as picture:
        assert picture.mode == "P" and picture.size == (67, 41)
        assert picture.getpalette()[:9] == tfseg.Labels(names=("a", "b", "c")).palette[:3].ravel().tolist()
    with Image.open(overlay) as picture:
        assert picture.size == (67, 41)


@pytest.mark.slow
def test_predict_is_eager_and_models_load_from_runs(run: tfseg.Run, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "a.png")
    assert tfseg.predict(run, [tmp_path / "a.png"], tmp_path / "masks") == [tmp_path / "masks" / "a.png"]
    steps = tfseg.iter_predict(run, [tmp_path / "a.png"], tmp_path / "later")
    assert not (tmp_path / "later").exists()
    assert next(steps) == tmp_path / "later" / "a.png"
    for first, second in zip(tfseg.load_model(run.folder).weights, run.model().weights, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_gray_images_with_masks_of_0_and_255(shared: Path, tmp_path: Path) -> None:
    """Ten electron microscope slices, two classes: source `folder`, one channel, whole job."""
    file = tmp_path / "membrane.yaml"
    file.write_text(
        "name: membrane\n"
        "labels: {names: [membrane, cell]}\n"
        "data:\n"
        "  source: {type: folder, images: 'train/image/{name}.png', masks: 'train/label/{name}.png', mask: binary,\n"
        "           channels: 1, fractions: {train: 0.8, val: 0.2}}\n"
        f"  root: {shared}/data/isbi2012_membrane\n"
        "  crop: 128\n"
        "  batch_size: 4\n"
        "model:\n"
        "  channels: 1\n"
        "  backbone: {type: small_cnn, filters: 8}\n"
        "  decoder: {type: fcn, strides: [16, 8, 4], filters: 16}\n"
        "training: {epochs: 3, optimizer: {type: adamw, learning_rate: 1e-2}}\n"
    )
    run = tfseg.fit(load(file), tmp_path / "run", verbose=False)
    assert run.metrics["val"]["images"] == 2
    assert np.sum(run.metrics["val"]["confusion"]) == 2 * 512 * 512
    assert run.metrics["val"]["pixel_accuracy"] > 0.5


@pytest.mark.slow
def test_validation_may_be_rarer_than_epochs_and_never_misses_the_last(tmp_path: Path) -> None:
    (tmp_path / "rare.yaml").write_text(TINY)
    rare = load(tmp_path / "rare.yaml", ["training.epochs=3", "training.validation_freq=2"])
    run = tfseg.fit(rare, tmp_path / "run", verbose=False)
    assert ["val_miou" in row for row in run.history] == [False, True, True]


AUXILIARY = """\
name: parsing
labels: {names: [ground, disc, square]}
data: {source: {type: shapes, size: 32, train: 8, val: 3}, batch_size: 4, crop: 33}
model:
  backbone: {type: small_cnn, filters: 4}
  decoder: {type: pspnet, filters: 4, bins: [1, 2]}
training: {epochs: 2, auxiliary_weight: 0.4, loss: {type: cross_entropy, resolution: scores}}
"""


@pytest.mark.slow
def test_a_decoder_with_auxiliary_scores(tmp_path: Path) -> None:
    """Trained with them, saved and measured without; the columns are as ever, and one for each loss."""
    (tmp_path / "parsing.yaml").write_text(AUXILIARY)
    pipeline = load(tmp_path / "parsing.yaml")
    run = tfseg.fit(pipeline, tmp_path / "run", verbose=False)
    assert {"loss", "miou", "val_loss", "val_miou", "scores_loss", "aux_stage_loss"} <= set(run.history[-1])
    for name in ("model.keras", "last.keras"):
        assert [tuple(output.shape) for output in run.model(name).outputs] == [(None, None, None, 3)]
        assert not [layer.name for layer in run.model(name).layers if "aux" in layer.name]
    assert [weight.shape for weight in run.model().weights] == [weight.shape for weight in pipeline.build().weights]
    assert run.metrics["val"]["miou"] == pytest.approx(max(row["val_miou"] for row in run.history), abs=1e-6)


@pytest.mark.slow
def test_statistics_are_measured_after_the_training(run: tfseg.Run, pipeline: Pipeline, tmp_path: Path) -> None:
    """The weights are those of a training without; the final measurement is of the new statistics."""
    again = replace(pipeline, training=replace(pipeline.training, batch_norm_batches=3))
    measured = tfseg.fit(again, tmp_path / "run", verbose=False)
    for name in ("model.keras", "last.keras"):
        changed = set()
        for old, new in zip(run.model(name).weights, measured.model(name).weights, strict=True):
            if not np.array_equal(old.numpy(), new.numpy()):
                changed.add(new.name)
        assert changed == {"moving_mean", "moving_variance"}
    assert measured.metrics["val"]["confusion"] == tfseg.evaluate(measured)["confusion"]
    assert [row["val_miou"] for row in measured.history] == [row["val_miou"] for row in run.history]


@pytest.mark.slow
def test_a_training_that_ends_within_an_epoch(pipeline: Pipeline, tmp_path: Path) -> None:
    """Two batches an epoch, three updates: the second epoch has one, is validated, and is where the schedule ends."""
    short = replace(pipeline, training=replace(pipeline.training, epochs=None, steps=3))
    run = tfseg.fit(short, tmp_path / "run", verbose=False)
    assert [row["epoch"] for row in run.history] == [1.0, 2.0]
    np.testing.assert_allclose([row["learning_rate"] for row in run.history], [1e-3 * (1 / 3) ** 0.9, 0], rtol=1e-5)
    assert "val_miou" in run.history[-1]


@pytest.mark.parametrize("callbacks", [[3], "x", [keras.callbacks.Callback], None])
def test_callbacks_are_looked_at_before_an_earlier_run_goes(callbacks: Any, pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("run\n")
    (tmp_path / "history.csv").write_text("kept")
    with pytest.raises(TypeError, match=r"Expected `callbacks` to be a list of keras.callbacks.Callback. Received: "):
        tfseg.fit(pipeline, tmp_path, overwrite=True, callbacks=callbacks, verbose=False)
    assert (tmp_path / "history.csv").read_text() == "kept"


def test_a_training_that_never_began_leaves_no_lock(pipeline: Pipeline, tmp_path: Path) -> None:
    backbone = replace(pipeline.model.backbone, weights=tmp_path / "none.npz")
    lost = replace(pipeline, model=replace(pipeline.model, backbone=backbone))
    with pytest.raises(tfseg.WeightsError):
        tfseg.fit(lost, tmp_path / "run", verbose=False)
    assert not list((tmp_path / "run").iterdir())
