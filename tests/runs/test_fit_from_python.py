"""Runs whose data are passed from Python: training, resumption, evaluation, and the commands that need files."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfseg
from tfseg.cli.commands import main
from tfseg.data import Python
from tfseg.pipeline import Pipeline, load

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("one_isolated_worker")
TINY = """\
name: tiny
labels: {names: [ground, disc, square]}
data:
  source: {type: shapes, size: 32, train: 10, val: 3}
  batch_size: 4
  crop: 24
  augment: [flip]
model:
  type: graph
  layers:
    - {name: conv, layer: conv, filters: 4, kernel_size: 3, padding: same}
    - {name: norm, layer: batch_normalization}
    - {name: score, layer: conv, filters: "${classes}", kernel_size: 1}
training: {epochs: 3, loss: {type: cross_entropy, class_weights: median_frequency}}
"""
WHOLE = ("data.crop=null", "data.augment=[]")
Arrays = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def pipeline(file: Path) -> Pipeline:
    return load(file)


@pytest.fixture(scope="module")
def training(pipeline: Pipeline) -> Arrays:
    return arrays(pipeline, "train")


@pytest.fixture(scope="module")
def validation(pipeline: Pipeline) -> Arrays:
    return arrays(pipeline, "val")


@pytest.fixture(scope="module")
def run(
    pipeline: Pipeline, training: Arrays, validation: Arrays, tmp_path_factory: pytest.TempPathFactory
) -> tfseg.Run:
    """A run of datasets of single examples."""
    folder = tmp_path_factory.mktemp("runs") / "single"
    return tfseg.fit(pipeline, folder, training=stream(training), validation=stream(validation), verbose=False)


def arrays(pipeline: Pipeline, split: str) -> Arrays:
    """Returns the images and the masks of a split."""
    pairs = pipeline.data.open(pipeline.labels).evaluation(split).as_numpy_iterator()
    images, masks = zip(*pairs, strict=True)
    return np.concatenate(images), np.concatenate(masks)


def stream(pair: Arrays) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(pair)


def weights(run: tfseg.Run, name: str = "last.keras") -> list[np.ndarray]:
    return run.model(name).get_weights()


def assert_equal(first: tfseg.Run, second: tfseg.Run) -> None:
    """Checks two runs for equal weights, history and metrics."""
    for name in ("model.keras", "last.keras"):
        for left, right in zip(weights(first, name), weights(second, name), strict=True):
            np.testing.assert_array_equal(left, right)
    for row, other in zip(first.history, second.history, strict=True):
        assert {**row, "seconds": 0} == {**other, "seconds": 0}
    assert first.metrics["val"]["confusion"] == second.metrics["val"]["confusion"]


def error_of(action: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(tfseg.TfsegError) as caught:
        action(*args, **kwargs)
    return str(caught.value)


class Stop(keras.callbacks.Callback):
    """Interrupts the training at the beginning of the second epoch."""

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        if epoch == 1:
            raise KeyboardInterrupt


def test_run_records_that_its_data_were_passed(run: tfseg.Run, pipeline: Pipeline) -> None:
    assert run.pipeline.data.source == Python(channels=3, train=10, val=3)
    assert run.pipeline.data.root is None
    assert (run.pipeline.model, run.pipeline.training) == (pipeline.model, pipeline.training)
    assert run.metrics["val"]["images"] == 3 and np.sum(run.metrics["val"]["confusion"]) == 3 * 32 * 32
    assert run.metrics["val"]["miou"] == pytest.approx(max(row["val_miou"] for row in run.history), abs=1e-6)
    assert run.pipeline == load(run.folder / "pipeline.yaml")


@pytest.mark.slow
def test_arrays_train_like_files_with_the_same_examples(
    pipeline: Pipeline, training: Arrays, validation: Arrays, tmp_path: Path
) -> None:
    files = tfseg.fit(pipeline, tmp_path / "files", verbose=False)
    assert_equal(
        tfseg.fit(pipeline, tmp_path / "arrays", training=training, validation=validation, verbose=False), files
    )


@pytest.mark.parametrize("size", [None, pytest.param(4, marks=pytest.mark.slow)], ids=["single", "batches"])
def test_resumed_run_equals_an_uninterrupted_one(
    size: int | None, run: tfseg.Run, file: Path, training: Arrays, validation: Arrays, tmp_path: Path
) -> None:
    passed = stream(training).batch(size) if size else stream(training)
    pipeline = load(file, WHOLE if size else ())
    given: dict[str, Any] = {"training": passed, "validation": stream(validation), "verbose": False}
    with pytest.raises(KeyboardInterrupt):
        tfseg.fit(pipeline, tmp_path / "run", callbacks=[Stop()], **given)
    resumed = tfseg.fit(pipeline, tmp_path / "run", resume=True, **given)
    assert_equal(resumed, tfseg.fit(pipeline, tmp_path / "unbroken", **given) if size else run)


def test_resuming_with_another_number_of_examples(
    run: tfseg.Run, pipeline: Pipeline, training: Arrays, validation: Arrays, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "state" / "finished").unlink()
    given: dict[str, Any] = {"resume": True, "verbose": False, "validation": stream(validation)}
    assert error_of(tfseg.fit, pipeline, tmp_path / "run", training=stream(training).take(9), **given) == (
        f"{tmp_path}/run: was started with other data: 10 training and 3 validation examples or batches. Received: 9 "
        "and 3. Resume with the data that the run was started with, or choose another folder."
    )
    assert error_of(tfseg.fit, pipeline, tmp_path / "run", resume=True, verbose=False) == (
        f"{tmp_path}/run: was started with data passed from Python. Resume with the same data: "
        "tfseg.fit(pipeline, run_dir, training=…, validation=…, resume=True)."
    )


NOT_HERE = (
    "data.source: python: the dataset is passed from Python and cannot be read here. Expected it in Python: "
    "tfseg.fit(pipeline, run_dir, training=…, validation=…), tfseg.evaluate(run_dir, data=…) or "
    "tfseg.tune_crf(run_dir, data=…); or set data.source to files."
)


def test_commands_that_need_the_data(run: tfseg.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for action in (tfseg.evaluate, tfseg.tune_crf):
        assert error_of(action, run) == NOT_HERE
    file = str(run.folder / "pipeline.yaml")
    assert main(["check", file]) == 0
    capsys.readouterr()
    for command in (
        ["data", "check", file],
        ["fit", file, "--run-dir", str(tmp_path / "new")],
        ["evaluate", str(run.folder)],
    ):
        assert main(command) == 1
        assert NOT_HERE in capsys.readouterr().err
    assert not list((tmp_path / "new").iterdir())


def test_evaluation_of_passed_data(run: tfseg.Run, training: Arrays, validation: Arrays, tmp_path: Path) -> None:
    """The metrics of named data are saved in the run directory."""
    confusion = run.metrics["val"]["confusion"]
    kept = (run.folder / "metrics-val.json").read_bytes()
    opened = run.pipeline.data.open(run.pipeline.labels)
    for data in (validation, stream(validation), stream(validation).batch(2)):
        metrics = tfseg.evaluate(run, data=data, output=tmp_path / "metrics.json")
        assert (metrics["split"], metrics["images"], metrics["confusion"]) == ("data", 3, confusion)
        assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert set(run.metrics) == {"val"} and (run.folder / "metrics-val.json").read_bytes() == kept
    assert tfseg.evaluate(run, "held-out", data=training)["images"] == run.metrics["held-out"]["images"] == 10
    (run.folder / "metrics-held-out.json").unlink()
    with pytest.raises(
        ValueError, match=r"Expected `split` to be a name, since it is part of a file name. Received: 'a/b'"
    ):
        tfseg.evaluate(run, "a/b", data=validation)
    assert error_of(tfseg.evaluate, run, data=opened) == NOT_HERE


def test_runs_of_files_are_evaluated_on_passed_data(run: tfseg.Run, pipeline: Pipeline, validation: Arrays) -> None:
    files = pipeline.data.open(pipeline.labels)
    assert tfseg.evaluate(run, "train", data=files)["images"] == 10
    (run.folder / "metrics-train.json").unlink()
    by_pipeline = tfseg.evaluate(run, pipeline=pipeline)
    assert by_pipeline["confusion"] == tfseg.evaluate(run, pipeline=pipeline, data=validation)["confusion"]


@pytest.mark.slow
def test_export_compares_on_synthetic_images(run: tfseg.Run, tmp_path: Path) -> None:
    assert tfseg.export(run, tmp_path).synthetic


@pytest.mark.slow
def test_crf_is_tuned_on_passed_data(run: tfseg.Run, validation: Arrays, tmp_path: Path) -> None:
    one = {"theta_alpha": (8, 8, 0), "theta_beta": (20, 20, 0), "bilateral_weight": (2, 2, 0)}
    report = tfseg.tune_crf(run, data=stream(validation), ranges=one, output=tmp_path / "crf.yaml")
    assert report["images"] == 3 and report["before"]["miou"] == pytest.approx(run.metrics["val"]["miou"])


def test_invalid_data_leave_an_earlier_run(run: tfseg.Run, pipeline: Pipeline, training: Arrays) -> None:
    kept = (run.folder / "model.keras").read_bytes()
    for invalid in ((training[0] / 255, training[1]), stream(training).map(lambda image, mask: (image, mask + 5))):
        with pytest.raises(tfseg.DataError):
            tfseg.fit(pipeline, run.folder, training=invalid, validation=training, overwrite=True, verbose=False)
    assert (run.folder / "model.keras").read_bytes() == kept


@pytest.mark.slow
def test_later_invalid_example_stops_the_training(
    file: Path, training: Arrays, validation: Arrays, tmp_path: Path
) -> None:
    images, masks = training[0], training[1].copy()
    masks[9, 0, 0] = 99
    plain = load(file, ["training.loss.class_weights=null"])
    given: dict[str, Any] = {"training": stream((images, masks)), "validation": validation, "verbose": False}
    assert error_of(tfseg.fit, plain, tmp_path, **given) == (
        "training example 9: received a mask with the value 99. Expected 0 to 2 (labels), or 255 (ignore)."
    )


@pytest.mark.slow
def test_nonfinite_loss_is_reported_with_the_examples(
    file: Path, training: Arrays, validation: Arrays, tmp_path: Path
) -> None:
    diverging = load(file, ["training.optimizer={type: sgd, learning_rate: 1e30}"])
    given: dict[str, Any] = {"training": stream(training), "validation": validation, "verbose": False}
    message = error_of(tfseg.fit, diverging, tmp_path, **given)
    assert re.search(r"files: training example \d+, training example \d+", message)


@pytest.mark.slow
def test_datasets_are_counted_once(
    file: Path, training: Arrays, validation: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their numbers of elements are unknown, and the batches have different sizes."""
    unknown = stream(training).filter(lambda image, mask: tf.reduce_max(mask) < 255).batch(4)
    pipeline = load(file, [*WHOLE, "training.epochs=1"])
    run = tfseg.fit(pipeline, tmp_path, training=unknown, validation=stream(validation).batch(2))
    assert [line for line in capsys.readouterr().out.splitlines() if "counting" in line] == [
        "training: counting the elements, since the dataset does not know their number",
        "validation: counting the images of all batches",
        "training: counting the pixels of each class",
    ]
    assert (run.pipeline.data.batch_size, run.pipeline.data.source.train) == (4, 3)  # type: ignore[union-attr]


SCRIPT = """
import os, signal, sys
import numpy as np, tensorflow as tf
pipeline, folder, arrays, kind, action = sys.argv[1:]
if action == "mirrored":
    devices = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
import keras, tfseg

class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.params["epochs"] and self.model.optimizer.iterations == 4:
            os.kill(os.getpid(), signal.SIGKILL)

given = np.load(arrays)
make = {
    "arrays": lambda pair: pair,
    "single": tf.data.Dataset.from_tensor_slices,
    "batches": lambda pair: tf.data.Dataset.from_tensor_slices(pair).batch(4),
}[kind]
overrides = ["data.crop=null", "data.augment=[]"] if kind == "batches" else []
training, validation = (make((given[name + "0"], given[name + "1"])) for name in ("training", "validation"))
tfseg.fit(
    tfseg.load(pipeline, [*overrides, *(["training.strategy=mirrored"] if action == "mirrored" else [])]),
    folder, training=training, validation=validation, verbose=False, resume=action == "resume",
    callbacks=[Kill()] if action == "kill" else [],
)
"""


def subprocess_fit(folder: Path, file: Path, pairs: list[Arrays], kind: str, action: str) -> int:
    """Trains in another process, and returns its exit status."""
    named = {
        f"{name}{index}": pairs[number][index]
        for number, name in enumerate(("training", "validation"))
        for index in (0, 1)
    }
    np.savez(folder.parent / "arrays.npz", **named)  # type: ignore[arg-type]  # no array has the name of an option
    command = [sys.executable, "-c", SCRIPT, str(file), str(folder), str(folder.parent / "arrays.npz"), kind, action]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["arrays", "single", "batches"])
def test_killed_run_is_resumed_by_another_process(
    kind: str, file: Path, training: Arrays, validation: Arrays, tmp_path: Path
) -> None:
    pairs = [training, validation]
    assert subprocess_fit(tmp_path / "run", file, pairs, kind, "kill") == -signal.SIGKILL
    assert tfseg.Run(tmp_path / "run").history[-1]["epoch"] == 1
    assert subprocess_fit(tmp_path / "run", file, pairs, kind, "resume") == 0
    assert subprocess_fit(tmp_path / "unbroken", file, pairs, kind, "none") == 0
    assert_equal(tfseg.Run(tmp_path / "run"), tfseg.Run(tmp_path / "unbroken"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["arrays", "single", "batches"])
def test_training_on_two_devices_equals_training_on_one(
    kind: str, file: Path, training: Arrays, validation: Arrays, tmp_path: Path
) -> None:
    """Ten training images in batches of four, and three validation images: weights differ by rounding only."""
    pairs = [training, validation]
    for action in ("none", "mirrored"):
        assert subprocess_fit(tmp_path / action, file, pairs, kind, action) == 0
    one, two = (tfseg.Run(tmp_path / action) for action in ("none", "mirrored"))
    assert two.metrics["val"]["images"] == 3
    for left, right in zip(weights(one), weights(two), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-4)
