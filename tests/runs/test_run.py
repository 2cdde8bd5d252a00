"""Python functions `fit`, `evaluate`, `predict` and `export`, and their errors."""

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
from tfseg.runs.lock import lock_run
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


def error_of(action: object, *args: object, **kwargs: object) -> str:
    """Returns the message of the error that a call raises."""
    with pytest.raises(tfseg.TfsegError) as caught:
        action(*args, **kwargs)  # type: ignore[operator]
    return str(caught.value)


def test_contents_of_a_run_directory(run: tfseg.Run, pipeline: Pipeline) -> None:
    files = {path.name for path in run.folder.iterdir()}
    assert {"model.keras", "last.keras", "pipeline.yaml", "labels.json", "history.csv", "history.png", "logs"} <= files
    assert {"metrics-val.json", "state"} <= files
    assert run.pipeline == pipeline
    assert json.loads((run.folder / "labels.json").read_text())["names"] == ["ground", "disc", "square"]
    with open(run.folder / "history.csv", newline="") as lines:
        assert [row["epoch"] for row in csv.DictReader(lines)] == ["1", "2"]
    assert [row["epoch"] for row in run.history] == [1.0, 2.0]


def test_metrics_file(run: tfseg.Run) -> None:
    metrics = json.loads((run.folder / "metrics-val.json").read_text())
    assert metrics == run.metrics["val"]
    keys = {"split", "images", "miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "per_class"}
    assert keys | {"boundary", "confusion", "pipeline_sha256", "versions"} <= set(metrics)
    assert metrics["images"] == 3 and np.sum(metrics["confusion"]) == 3 * 32 * 32
    assert metrics["versions"]["keras"] == keras.__version__


def test_boundary_metrics(run: tfseg.Run) -> None:
    """Compares them with metrics updated image by image with the masks of the best network and of the dataset."""
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


def test_the_same_seed_gives_the_same_weights(
    run: tfseg.Run, pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the same curves. Each epoch is one line of progress, with the values of the history."""
    again = tfseg.fit(pipeline, tmp_path / "again")
    lines = [text for text in capsys.readouterr().out.splitlines() if text.startswith("epoch")]
    assert [text.partition("  lr ")[0].replace(" (best)", "") for text in lines] == [
        f"epoch {row['epoch']:.0f}/2  loss {row['loss']:.3f}  mIoU {row['miou']:.3f}  val loss {row['val_loss']:.3f}  "
        f"val mIoU {row['val_miou']:.3f}"
        for row in again.history
    ]
    assert (again.folder / "history.png").read_bytes() == (run.folder / "history.png").read_bytes()
    for first, second in zip(run.model().get_weights(), again.model().get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_resumed_run_equals_an_uninterrupted_one(
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
    assert error_of(tfseg.fit, pipeline, tmp_path / "run", verbose=False) == (
        f"{tmp_path}/run: contains an unfinished run. Continue with --resume, delete it with --overwrite, or choose "
        "another folder with --run-dir."
    )
    resumed = tfseg.fit(pipeline, tmp_path / "run", resume=True, verbose=False)
    assert [row["epoch"] for row in resumed.history] == [1.0, 2.0]
    for first, second in zip(
        run.model("last.keras").get_weights(), resumed.model("last.keras").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_finished_run_is_kept_without_overwrite(pipeline: Pipeline, run: tfseg.Run, tmp_path: Path) -> None:
    kept = (run.folder / "model.keras").read_bytes()
    assert error_of(tfseg.fit, pipeline, run.folder, verbose=False) == (
        f"{run.folder}: contains a finished run. Choose another folder with --run-dir, or delete it with --overwrite."
    )
    assert error_of(tfseg.fit, pipeline, run.folder, resume=True, verbose=False) == (
        f"{run.folder}: the run is finished, so there is nothing to resume. To train longer, add a larger value of "
        "training.epochs or training.steps to the command."
    )
    assert (run.folder / "model.keras").read_bytes() == kept


def test_overwrite_deletes_files_of_runs_only(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    message = (
        f"{tmp_path}: is not empty and not a run directory, and --overwrite deletes runs only. "
        "Choose another folder with --run-dir."
    )
    assert error_of(tfseg.fit, pipeline, tmp_path, overwrite=True) == message
    assert error_of(tfseg.fit, pipeline, tmp_path) == (
        f"{tmp_path}: is not empty and not a run directory. Choose another folder with --run-dir."
    )
    for part in ("pipeline.yaml", "labels.json", "model.keras"):
        (tmp_path / part).write_text("of an earlier run")
    with lock_run(tmp_path, pipeline, resume=False, overwrite=True) as lock:
        lock.begin()
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.txt", ".lock"}


def test_lock_file_of_another_program_is_kept(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("of another program")
    assert error_of(tfseg.fit, pipeline, tmp_path, verbose=False) == (
        f"{tmp_path}: is not empty and not a run directory. Choose another folder with --run-dir."
    )
    assert (tmp_path / ".lock").read_text() == "of another program"


def test_earlier_run_is_kept_until_the_new_one_starts(run: tfseg.Run, pipeline: Pipeline) -> None:
    kept = (run.folder / "model.keras").read_bytes()
    lost = replace(pipeline, model=replace(pipeline.model, backbone=SmallCnn(filters=4, weights=Path("lost.npz"))))
    assert error_of(tfseg.fit, lost, run.folder, overwrite=True, verbose=False) == (
        "lost.npz: no such weight file. "
        "Set model.backbone.weights to a file that exists, or to null to start from random weights."
    )
    assert (run.folder / "model.keras").read_bytes() == kept


def test_lock_file_that_is_a_pipe_does_not_block(pipeline: Pipeline, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".lock")
    assert error_of(tfseg.fit, pipeline, tmp_path) == (
        f"{tmp_path}: its .lock is not a file. Choose another folder with --run-dir."
    )


def test_run_without_a_completed_epoch_may_be_started_again(pipeline: Pipeline, tmp_path: Path) -> None:
    for part in ("pipeline.yaml", "labels.json"):
        (tmp_path / part).write_text("of a run that was stopped early")
    with lock_run(tmp_path, pipeline, resume=False, overwrite=False) as lock:
        lock.begin()
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def test_symbolic_links_are_deleted_and_not_followed(pipeline: Pipeline, tmp_path: Path) -> None:
    folder, logs, file = tmp_path / "run", tmp_path / "elsewhere", tmp_path / "thesis.txt"
    for created in (folder, logs):
        created.mkdir()
    (logs / "events").write_text("of other trainings")
    file.write_text("years of work")
    for part in ("pipeline.yaml", "labels.json"):
        (folder / part).write_text("of an earlier run")
    (folder / "logs").symlink_to(logs)
    (folder / ".lock").symlink_to(file)
    (folder / "model.keras").symlink_to(file)
    with lock_run(folder, pipeline, resume=False, overwrite=True) as lock:
        lock.begin()
    assert {path.name for path in folder.iterdir()} == {".lock"}
    assert (logs / "events").read_text() == "of other trainings"
    assert file.read_text() == "years of work"


def test_interrupted_deletion_leaves_a_run_directory(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any number of deletions, the folder can be overwritten again and is not a finished run."""
    parts = [
        "state",
        "logs",
        "metrics-val.json",
        "history.png",
        "history.csv",
        "last.keras",
        "model.keras",
        "labels.json",
    ]
    for last in range(len(parts) + 1):
        folder = tmp_path / f"run{last}"
        (folder / "state").mkdir(parents=True)
        for part in (*parts[2:], "pipeline.yaml", "state/finished", "logs"):
            (folder / part).write_text("of an earlier run")
        deleted = []

        def interrupted(path: Path, last: int = last, deleted: list[Path] = deleted) -> None:
            if len(deleted) == last:
                raise KeyboardInterrupt
            deleted.append(path)
            remove(path)

        monkeypatch.setattr("tfseg.runs.lock.remove", interrupted)
        with pytest.raises(KeyboardInterrupt), lock_run(folder, pipeline, resume=False, overwrite=True) as lock:
            lock.begin()
        monkeypatch.undo()
        assert (folder / "state" / "finished").exists() == (last == 0)
        with lock_run(folder, pipeline, resume=False, overwrite=True) as lock:
            lock.begin()
        assert {path.name for path in folder.iterdir()} == {".lock"}


def test_temporary_files_of_killed_processes_are_deleted(pipeline: Pipeline, tmp_path: Path) -> None:
    """Files that are being written and files that are not temporary are kept."""
    (tmp_path / "state").mkdir()
    stale = [".model-a1b2.keras", ".last-a1b2.keras", ".metrics-val-a1b2.json", "state/.12-a1b2.npz"]
    kept = [".model-notes.txt", ".models.keras", "state/12-0123456789abcdef.npz"]
    for name in (*stale, *kept):
        (tmp_path / name).write_text("half")
    (tmp_path / "pipeline.yaml").write_text(dump(pipeline))
    (tmp_path / ".model-folder.keras").mkdir()
    with atomic_file(tmp_path / "metrics-val.json") as partial:
        with lock_run(tmp_path, pipeline, resume=True, overwrite=False) as lock:
            lock.begin()
        assert partial.exists()
        partial.write_text("whole")
    assert (tmp_path / "metrics-val.json").read_text() == "whole"
    assert not [name for name in stale if (tmp_path / name).exists()]
    assert [name for name in kept if (tmp_path / name).exists()] == kept
    assert (tmp_path / ".model-folder.keras").is_dir()


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("resume", [True, False])
def test_first_state_cannot_be_written(
    run: tfseg.Run, pipeline: Pipeline, tmp_path: Path, resume: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training starts again from the pretrained weights, as the message states."""
    pretrained = replace(pipeline.model.backbone, weights=run.best)
    pipeline = replace(pipeline, model=replace(pipeline.model, backbone=pretrained))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("tfseg.training.state.np.savez", full)
        message = error_of(tfseg.fit, pipeline, tmp_path / "run", verbose=False)
    steps = pipeline.data.open(pipeline.labels).steps_per_epoch
    assert message == (
        f"{tmp_path}/run/state/{steps}.npz: could not be written (No space left on device); no partial file was "
        "left. Free disk space, and start again, since no epoch was completed"
    )
    initial = []
    monkeypatch.setattr(keras.Model, "fit", lambda model, *_, **__: initial.append(model.get_weights()))
    monkeypatch.setattr("tfseg.runs.fit.finish_training", lambda *_: (_ for _ in ()).throw(InterruptedError))
    with pytest.raises(InterruptedError):
        tfseg.fit(pipeline, tmp_path / "run", resume=resume, verbose=False)
    first = next(weight for weight in run.model().weights if weight.path.endswith("kernel"))
    assert any(np.array_equal(first, each) for each in initial[0])


def test_resume_requires_the_same_pipeline(run: tfseg.Run, pipeline: Pipeline, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "state" / "finished").unlink()
    other = replace(pipeline, seed=7, labels=tfseg.Labels(names=("ground", "disc", "box")))
    assert error_of(tfseg.fit, other, tmp_path / "run", resume=True) == (
        f"{tmp_path}/run: was started with another pipeline. It differs in seed, labels.names. "
        "Resume with the pipeline that the run was started with, or choose another folder with --run-dir."
    )
    assert tfseg.Run(tmp_path / "run").pipeline == pipeline


def test_evaluation_does_not_finish_an_unfinished_run(run: tfseg.Run, pipeline: Pipeline, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "state" / "finished").unlink()
    tfseg.evaluate(tmp_path / "run")
    with lock_run(tmp_path / "run", pipeline, resume=True, overwrite=False):
        pass


def test_evaluation_on_another_dataset_keeps_the_metrics_of_the_run(run: tfseg.Run, pipeline: Pipeline) -> None:
    other = replace(pipeline, data=replace(pipeline.data, source=replace(pipeline.data.source, val=5)))
    assert tfseg.evaluate(run, pipeline=other)["images"] == 5
    assert json.loads((run.folder / "metrics-val.json").read_text())["images"] == 3


def test_evaluation_with_other_classes(run: tfseg.Run, pipeline: Pipeline) -> None:
    other = replace(pipeline, labels=tfseg.Labels(names=("ground", "disc")))
    assert error_of(tfseg.evaluate, run, pipeline=other) == (
        f"{run.folder}/model.keras: predicts 3 classes from 3-channel images. Received: a pipeline with 2 classes "
        "and 3 channels. Evaluate it with the pipeline it was trained with."
    )


def test_classes_in_another_order(run: tfseg.Run, pipeline: Pipeline, tmp_path: Path) -> None:
    """Names of classes are compared by evaluate with any kind of file, by import, and for an ensemble."""
    other = replace(pipeline, labels=tfseg.Labels(names=("disc", "ground", "square")))
    problem = "class 0 is called ground. Expected: disc"
    shutil.copytree(run.folder, tmp_path / "copy")
    for source in (run, run.folder, run.best):
        assert error_of(tfseg.evaluate, source, pipeline=other) == (
            f"{run.best}: {problem}, as in the pipeline it is evaluated with. Use the labels of the training in that "
            "pipeline, in the same order."
        )
    assert error_of(import_weights, other, run.best, tmp_path / "imported") == (
        f"{run.best}: {problem}, as in the pipeline. Use the labels of the weights in the pipeline, in the same order."
    )
    twice = replace(other, inference=Inference(ensemble=Ensemble(network=run.folder)))
    assert error_of(tfseg.fit, twice, tmp_path / "twice", verbose=False) == (
        f"inference.ensemble.network: {problem}, as in the first network. Train both with labels in the same order."
    )
    (tmp_path / "copy" / "labels.json").unlink()
    assert tfseg.evaluate(tmp_path / "copy" / "model.keras", pipeline=other)["images"] == 3


def test_run_directory_in_use(pipeline: Pipeline, tmp_path: Path) -> None:
    with lock_run(tmp_path, pipeline, resume=False, overwrite=False):
        assert error_of(tfseg.fit, pipeline, tmp_path, overwrite=True, verbose=False) == (
            f"{tmp_path}: in use by another training. Wait until it ends, or choose another folder with --run-dir."
        )


def test_run_directory_that_cannot_be_created(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert error_of(tfseg.fit, pipeline, tmp_path / "file" / "run", verbose=False) == (
        f"{tmp_path}/file/run: cannot be written (Not a directory). Expected a writable folder; choose another with "
        "--run-dir."
    )


def test_nothing_to_resume(pipeline: Pipeline, tmp_path: Path) -> None:
    assert error_of(tfseg.fit, pipeline, tmp_path / "new", resume=True, verbose=False) == (
        f"{tmp_path}/new: nothing to resume: no run was started there. Start it without --resume."
    )
    assert error_of(tfseg.fit, pipeline, tmp_path / "new", resume=True, overwrite=True) == (
        "--resume and --overwrite: expected one. The first resumes a run, the second deletes it."
    )


def test_paths_that_are_not_a_run_or_a_model(tmp_path: Path) -> None:
    assert error_of(tfseg.Run, tmp_path) == (
        f"{tmp_path}: is not a run directory. Expected the file pipeline.yaml in it. "
        f"Create one with: tfseg fit FILE --run-dir {tmp_path}"
    )
    assert error_of(tfseg.load_model, tmp_path / "model.keras") == (
        f"{tmp_path}/model.keras: is not a file. Expected a .keras file or a run directory. Received: a path that does "
        "not exist."
    )
    (tmp_path / "1").mkdir()
    assert error_of(tfseg.load_model, tmp_path / "1") == (
        f"{tmp_path}/1: is not a file. Expected a .keras file or a run directory. Received: a folder."
    )
    assert error_of(tfseg.evaluate, tmp_path / "none") == (
        f"{tmp_path}/none: no such model. Expected a run directory, a .keras file, a SavedModel folder or a "
        ".tflite file."
    )
    (tmp_path / "model.keras").write_text("not a model")
    message = error_of(tfseg.load_model, tmp_path / "model.keras")
    assert message.startswith(f"{tmp_path}/model.keras: Keras cannot load it: ")
    assert message.endswith(". Expected a .keras file written by `tfseg fit`.")


def test_rejected_folder_is_left_unchanged(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert error_of(tfseg.fit, pipeline, tmp_path, verbose=False) == (
        f"{tmp_path}: is not empty and not a run directory. Choose another folder with --run-dir."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_output_is_checked_before_the_evaluation(
    run: tfseg.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfseg.runs.evaluate.predictor_of", None)
    (tmp_path / "file").touch()
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "file" / "x", "File exists")):
        assert error_of(tfseg.evaluate, run, output=path) == (
            f"{path}: cannot be written ({reason}). Expected a file in a writable folder."
        )
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_full_disk_error_contains_the_file_name(tmp_path: Path) -> None:
    with pytest.raises(OSError) as error, atomic_file(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert error.value.filename == str(tmp_path / "a.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as error, atomic_file(tmp_path / "folder"):
        pass
    assert error.value.filename == str(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_out_of_memory_error_contains_the_settings_to_reduce(
    run: tfseg.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def oom(*_: Any, **__: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor")

    def numpy(*_: Any, **__: Any) -> None:
        raise MemoryError("Unable to allocate 27.9 GiB")

    template = "out of memory ({}). Reduce: {}"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr("tfseg.inference.engines.KerasEngine.masks", oom)
    message = template.format("OOM when allocating a tensor", "inference.size, or the images")
    assert error_of(tfseg.predict, run, tmp_path / "a.png", tmp_path / "masks") == message
    assert error_of(tfseg.evaluate, run) == message
    monkeypatch.setattr("tfseg.runs.export.export_model", numpy)
    assert error_of(tfseg.export, run, tmp_path / "saved") == template.format(
        "Unable to allocate 27.9 GiB", "export.tflite.size, inference.size, or the images"
    )


def test_corrupt_metrics_and_history(run: tfseg.Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy)
    for text in ("{", "[]", "[" * 100_000, "3"):
        (copy / "metrics-val.json").write_text(text)
        assert error_of(lambda: tfseg.Run(copy).metrics) == (
            f"{copy}/metrics-val.json: is corrupt. Expected a file written by `tfseg evaluate`. Delete it or evaluate "
            "again."
        )
    for text in ("epoch,loss\n1,x\n", "epoch\n1,2,3\n", "epoch\n\0\xff\n"):
        (copy / "history.csv").write_text(text, encoding="latin-1")
        assert error_of(lambda: tfseg.Run(copy).history) == (
            f"{copy}/history.csv: is corrupt. Expected a table of numbers. Restore it or delete it."
        )


def test_missing_dataset_is_reported_before_the_network_is_built(tmp_path: Path) -> None:
    pipeline = load("fcn_mobilenet_v2_camvid")
    assert error_of(tfseg.fit, pipeline, tmp_path / "run", verbose=False) == (
        "data.root: the source camvid reads files; expected the folder of the dataset; received none. "
        "Set it in the file, or add data.root=FOLDER to the command"
    )


def test_artifacts_have_the_same_metrics_as_the_run(run: tfseg.Run, tmp_path: Path) -> None:
    report = tfseg.export(run, tmp_path, ["inference.crf={parameters: deeplab_v1}"])
    assert report.folder == tmp_path / "tiny" / "1"
    assert report.omitted == ("inference.crf",)
    assert str(report).endswith("\n  without inference.crf: these inference settings are not exported")
    assert error_of(tfseg.evaluate, report.folder) == (
        f"{report.folder}: has no pipeline, which defines the dataset. Expected a run directory, or a pipeline as well "
        "(--pipeline FILE)."
    )
    for artifact in (report.folder, report.tflite):
        metrics = tfseg.evaluate(artifact, pipeline=run.pipeline)
        assert metrics["confusion"] == run.metrics["val"]["confusion"]


MIRRORED = """
import sys, tensorflow as tf
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import tfseg
pipeline = tfseg.load(sys.argv[1], ["training.strategy=mirrored"])
print(tfseg.fit(pipeline, sys.argv[2], verbose=False).history[-1]["val_miou"])
"""


@pytest.mark.slow
def test_training_on_two_devices_equals_training_on_one(run: tfseg.Run, pipeline: Pipeline, tmp_path: Path) -> None:
    """Three validation images on two devices, without dropout: weights differ by rounding only, about 1e-6."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = [sys.executable, "-c", MIRRORED, str(tmp_path / "tiny.yaml"), str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    two = tfseg.Run(tmp_path / "two")
    assert float(done.stdout.split()[-1]) == pytest.approx(run.history[-1]["val_miou"], abs=1e-3)
    assert two.metrics["val"]["images"] == 3
    first, second = (one.model("last.keras").get_weights() for one in (run, two))
    for left, right in zip(first, second, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4)


def test_predict_writes_palette_pngs_of_the_size_of_the_image(run: tfseg.Run, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((41, 67, 3), np.uint8)).save(tmp_path / "dark.jpg")
    mask, overlay = tfseg.predict(run, [tmp_path / "dark.jpg"], tmp_path / "out", overlay=True)
    with Image.open(mask) as image:
        assert image.mode == "P" and image.size == (67, 41)
        assert image.getpalette()[:9] == tfseg.Labels(names=("a", "b", "c")).palette[:3].ravel().tolist()
    with Image.open(overlay) as image:
        assert image.size == (67, 41)


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
    """Trains on ten electron microscope slices: source `folder`, one channel, two classes."""
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
def test_validation_freq_always_validates_the_last_epoch(tmp_path: Path) -> None:
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
def test_decoder_with_auxiliary_scores(tmp_path: Path) -> None:
    """The network is saved and evaluated without auxiliary outputs. The history has a column per loss."""
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
def test_batch_norm_statistics_are_estimated_after_training(run: tfseg.Run, pipeline: Pipeline, tmp_path: Path) -> None:
    """Only the statistics differ from a run without the estimation. The evaluation uses the new statistics."""
    again = replace(pipeline, training=replace(pipeline.training, batch_norm_batches=3))
    estimated = tfseg.fit(again, tmp_path / "run", verbose=False)
    for name in ("model.keras", "last.keras"):
        changed = set()
        for old, new in zip(run.model(name).weights, estimated.model(name).weights, strict=True):
            if not np.array_equal(old.numpy(), new.numpy()):
                changed.add(new.name)
        assert changed == {"moving_mean", "moving_variance"}
    assert estimated.metrics["val"]["confusion"] == tfseg.evaluate(estimated)["confusion"]
    assert [row["val_miou"] for row in estimated.history] == [row["val_miou"] for row in run.history]


@pytest.mark.slow
def test_training_that_ends_within_an_epoch(pipeline: Pipeline, tmp_path: Path) -> None:
    """With two batches per epoch and three steps, the second epoch has one step, is validated and ends the schedule."""
    short = replace(pipeline, training=replace(pipeline.training, epochs=None, steps=3))
    run = tfseg.fit(short, tmp_path / "run", verbose=False)
    assert [row["epoch"] for row in run.history] == [1.0, 2.0]
    np.testing.assert_allclose([row["learning_rate"] for row in run.history], [1e-3 * (1 / 3) ** 0.9, 0], rtol=1e-5)
    assert "val_miou" in run.history[-1]


@pytest.mark.parametrize("callbacks", [[3], "x", [keras.callbacks.Callback], None])
def test_callbacks_are_checked_before_an_earlier_run_is_deleted(
    callbacks: Any, pipeline: Pipeline, tmp_path: Path
) -> None:
    (tmp_path / ".lock").write_text("run\n")
    (tmp_path / "history.csv").write_text("kept")
    with pytest.raises(TypeError, match=r"Expected `callbacks` to be a list of keras.callbacks.Callback. Received: "):
        tfseg.fit(pipeline, tmp_path, overwrite=True, callbacks=callbacks, verbose=False)
    assert (tmp_path / "history.csv").read_text() == "kept"


def test_training_that_did_not_start_leaves_no_lock_file(pipeline: Pipeline, tmp_path: Path) -> None:
    backbone = replace(pipeline.model.backbone, weights=tmp_path / "none.npz")
    lost = replace(pipeline, model=replace(pipeline.model, backbone=backbone))
    with pytest.raises(tfseg.WeightsError):
        tfseg.fit(lost, tmp_path / "run", verbose=False)
    assert not list((tmp_path / "run").iterdir())
