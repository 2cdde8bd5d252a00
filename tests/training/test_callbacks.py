"""Callbacks of a training: run directory, nonfinite losses, resumption."""

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.training import toy
from tfseg.errors import RunError
from tfseg.training import State, Training, restore, save_model
from tfseg.training.checkpoints import Checkpoints
from tfseg.training.files import states
from tfseg.training.nan_guard import diagnose
from tfseg.training.optimizers import AdamW, Sgd

IMAGES, MASKS = toy.examples(8)
VALIDATION = toy.examples(4, seed=1)


class Kill(keras.callbacks.Callback):
    """Callback that interrupts the training at the start of epoch `epoch`, like a signal."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def train(folder, training, *, more=(), images=IMAGES, resume=False, validated=True, **network):
    with training.scope(seed=1):
        model = toy.network(**network)
        training.compile(model, toy.LABELS, steps_per_epoch=2)
    state = restore(model, folder) if resume else State()
    callbacks = training.callbacks(
        folder,
        toy.LABELS,
        steps_per_epoch=2,
        state=state,
        batch_names=lambda epoch, step: (f"{epoch}-{step}-a.png", f"{epoch}-{step}-b.png"),
        batch=lambda epoch, step: (images[4 * step : 4 * step + 4], MASKS[4 * step : 4 * step + 4]),
        samples=[(VALIDATION[0][0], VALIDATION[1][0])],
    )
    model.fit(
        toy.batches(images, MASKS, 4, training.epochs - state.epoch),
        steps_per_epoch=2,
        epochs=training.epochs,
        initial_epoch=state.epoch,
        shuffle=False,
        verbose=0,
        validation_data=toy.batches(*VALIDATION, 4) if validated else None,
        validation_freq=list(training.validated_epochs(2)),
        callbacks=[*callbacks, *more],
    )
    return model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Returns the run directory and the network of a training of four epochs."""
    folder = tmp_path_factory.mktemp("run")
    return folder, train(folder, Training(epochs=4, optimizer=AdamW(learning_rate=0.02)), dropout=0.3)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_run_directory_has_all_files(run):
    folder, _ = run
    names = {path.relative_to(folder).parts[0] for path in folder.rglob("*")}
    assert names == {"model.keras", "last.keras", "history.csv", "history.png", "logs", "state"}
    assert not list(folder.rglob(".*"))


def test_history_has_loss_metrics_and_learning_rate(run):
    folder, _ = run
    table = rows(folder)
    assert [row["epoch"] for row in table] == ["1", "2", "3", "4"]
    metrics = ["loss", "miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"]
    assert set(table[0]) == {"epoch", "seconds", "learning_rate", *metrics, *(f"val_{name}" for name in metrics)}
    rates = [float(row["learning_rate"]) for row in table]
    np.testing.assert_allclose(rates, [0.02 * (1 - step / 8) ** 0.9 for step in (2, 4, 6, 8)], rtol=1e-5)


def test_best_and_last_networks_are_saved(run):
    """`model.keras` has the highest logged `val_miou`, and `last.keras` the final weights."""
    folder, model = run
    logged = [float(row["val_miou"]) for row in rows(folder)]
    best = keras.models.load_model(folder / "model.keras")
    training = Training()
    training.compile(best, toy.LABELS, steps_per_epoch=1)
    metrics = best.evaluate(toy.batches(*VALIDATION, 4), verbose=0, return_dict=True)
    assert metrics["miou"] == pytest.approx(max(logged))
    last = keras.models.load_model(folder / "last.keras")
    for mine, theirs in zip(last.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_only_higher_values_are_better(tmp_path):
    model = toy.network()
    checkpoints = Checkpoints(tmp_path, best=0.5)
    checkpoints.set_model(model)
    for value, better in [(0.4, False), (0.5, False), (math.nan, False), (0.6, True), (0.55, False)]:
        (tmp_path / "model.keras").unlink(missing_ok=True)
        checkpoints.on_epoch_end(0, {"val_miou": value})
        assert (tmp_path / "model.keras").exists() is better
    assert checkpoints.best == 0.6


@pytest.mark.parametrize(
    ("epochs", "every", "expected"),
    [(1, 1, (1,)), (4, 1, (1, 2, 3, 4)), (5, 2, (2, 4, 5)), (4, 2, (2, 4)), (3, 9, (3,))],
)
def test_validated_epochs(epochs, every, expected):
    assert Training(epochs=epochs, validation_freq=every).validated_epochs(7) == expected


def test_epochs_without_validation(tmp_path):
    """They have no validation metrics and are not the best, but `last.keras` is saved."""
    model = train(tmp_path, Training(epochs=3, validation_freq=2))
    assert [bool(row["val_miou"]) for row in rows(tmp_path)] == [False, True, True]
    assert all(row["miou"] for row in rows(tmp_path))
    last = keras.models.load_model(tmp_path / "last.keras")
    for mine, theirs in zip(last.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    checkpoints = Checkpoints(tmp_path / "new", validated=(2,))
    checkpoints.set_model(model)
    checkpoints.on_epoch_end(0, {"loss": 1.0})
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["last.keras"]


def test_saved_networks_are_uncompiled(run):
    folder, _ = run
    for name in ("model.keras", "last.keras"):
        model = keras.models.load_model(folder / name)
        assert not model.compiled
        assert model.predict(IMAGES[:1], verbose=0).shape == (1, 8, 8, 3)


def test_training_without_validation_is_rejected(tmp_path):
    with pytest.raises(RunError) as caught:
        train(tmp_path, Training(epochs=1), validated=False)
    assert str(caught.value) == (
        "after epoch 1: the best network is selected by `val_miou`, which is not logged. Received: "
        "frequency_weighted_iou, loss, mean_accuracy, miou, pixel_accuracy. Pass `validation_data` to `fit`"
    )
    assert not (tmp_path / "last.keras").exists()


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_resume_is_exact(tmp_path, precision):
    """Weights, optimizer, dropout, loss scale and history equal those of an uninterrupted training."""
    training = Training(
        epochs=3, optimizer=AdamW(learning_rate=0.02), precision=precision, schedule={"type": "poly", "warmup": 3}
    )
    whole = train(tmp_path / "whole", training, dropout=0.3)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", training, dropout=0.3, more=[Kill(epoch=1)])
    resumed = train(tmp_path / "parts", training, dropout=0.3, resume=True)
    for mine, theirs in zip(resumed.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=mine.path)
    for mine, theirs in zip(resumed.optimizer.variables, whole.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=mine.path)
    for mine, theirs in zip(rows(tmp_path / "parts"), rows(tmp_path / "whole"), strict=True):
        assert {**mine, "seconds": ""} == {**theirs, "seconds": ""}
    assert (tmp_path / "parts" / "history.png").read_bytes() == (tmp_path / "whole" / "history.png").read_bytes()
    saved = [keras.models.load_model(tmp_path / name / "model.keras").get_weights() for name in ("parts", "whole")]
    for mine, theirs in zip(*saved, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_resume_without_a_state_restores_nothing(tmp_path):
    training = Training()
    with training.scope():
        model = toy.network()
        training.compile(model, toy.LABELS, steps_per_epoch=1)
    before = [variable.numpy() for variable in model.variables]
    assert restore(model, tmp_path) == State(epoch=0, best=-math.inf, rows=())
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize(
    ("channels", "dropout", "difference"),
    [
        (6, 0.0, "Expected 21 variables. Received: 22"),
        (5, 0.3, "Expected conv/kernel of shape (3, 3, 3, 5). Received: (3, 3, 3, 6)"),
    ],
)
def test_resume_with_another_network_is_rejected(run, channels, dropout, difference):
    folder, _ = run
    training = Training()
    with training.scope():
        model = toy.network(channels=channels, dropout=dropout)
        training.compile(model, toy.LABELS, steps_per_epoch=1)
    before = model.get_weights()
    with pytest.raises(RunError) as caught:
        restore(model, folder)
    assert str(caught.value) == (
        f"{states(folder)[0]}: does not match the network or the optimizer. {difference}. Resume "
        "with the pipeline of the run, or start again with --overwrite"
    )
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def compiled() -> keras.Model:
    training = Training()
    with training.scope():
        model = toy.network(dropout=0.3)
        training.compile(model, toy.LABELS, steps_per_epoch=2)
    return model


def test_two_newest_states_are_kept(run):
    folder, _ = run
    steps = [int(path.name.split("-")[0]) for path in states(folder)]
    assert len(steps) == 2
    assert steps[0] > steps[1]
    for path in states(folder):
        assert sha256(path.read_bytes()).hexdigest()[:16] == path.stem.split("-")[1]


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_damaged_state_falls_back_to_the_previous_one(run, tmp_path, damage, caplog):
    shutil.copytree(run[0], tmp_path / "run")
    newest, before = states(tmp_path / "run")
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"flipped": content, "cut": content[:-1], "empty": b""}[damage])
    model = compiled()
    state = restore(model, tmp_path / "run")
    assert int(model.optimizer.iterations) == int(before.name.split("-")[0])
    assert state.epoch == len(state.rows) == int(before.name.split("-")[0]) // 2
    assert caplog.messages == [
        f"{newest}: is not a valid training state (the checksum does not match). Resuming from the end of epoch "
        f"{state.epoch}"
    ]


def test_damaged_states_are_deleted(run, tmp_path):
    """So are broken links. The valid state is kept until there are two newer ones."""
    for number, damage in enumerate((lambda path: path.write_bytes(b"half"), broken_link)):
        folder = tmp_path / f"run{number}"
        shutil.copytree(run[0], folder)
        newest, before = states(folder)
        damage(newest)
        restore(compiled(), folder)
        assert states(folder) == [before]


def broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nothing"))


def write_state(folder: Path, content: bytes, step: int = 2) -> Path:
    """Writes a state file with a valid checksum and arbitrary content, as an attacker could."""
    path = folder / "state" / f"{step}-{sha256(content).hexdigest()[:16]}.npz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def archive(**arrays: Any) -> bytes:
    with io.BytesIO() as file:
        np.savez(file, **arrays)
        return file.getvalue()


PROGRESS = [
    "[]", "{}", "1", '{"epoch": 99, "best": 0.5, "rows": []}', '{"epoch": 1, "best": null, "rows": [{}]}',
    '{"epoch": 1, "best": 0.5, "rows": [[]]}', '{"epoch": "1", "best": 0.5, "rows": [{}]}', "[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 half a file", archive(other=np.zeros(3)), *(archive(standing=np.array(t)) for t in PROGRESS)],
)
def test_resume_from_invalid_states(tmp_path, content):
    path = write_state(tmp_path, content)
    pattern = (
        re.escape(f"{path}: is not a valid training state (") + ".+" + re.escape("). Start again with --overwrite")
    )
    model = compiled()
    before = model.get_weights()
    with pytest.raises(RunError, match=f"^{pattern}$") as caught:
        restore(model, tmp_path)
    if b"epoch" in content:
        assert "(the number of completed epochs is missing)" in str(caught.value)
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_nonfinite_loss_stops_the_training(tmp_path):
    """The message has the step, its files and the layer. Saved networks are unchanged."""
    good = Training(epochs=1, optimizer=Sgd(learning_rate=0.01))
    train(tmp_path, good)
    before = (tmp_path / "model.keras").read_bytes()
    with pytest.raises(RunError) as caught:
        train(tmp_path, Training(epochs=3, optimizer=Sgd(learning_rate=1e30)), norm=False)
    assert str(caught.value) == (
        "training stopped: the loss or its gradient is not finite at epoch 1, step 2 of 2\n"
        "  files: 0-1-a.png, 0-1-b.png\n"
        "  first nonfinite layer: score (Conv2D)\n"
        "  learning rate now: 6.94e+29\n"
        "The step was not applied, and no checkpoint contains it. Try a smaller training.optimizer.learning_rate, a "
        "warm-up (training.schedule.warmup), or training.precision: float32 or mixed_bfloat16"
    )
    assert (tmp_path / "model.keras").read_bytes() == before


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_nonfinite_images_stop_the_training(tmp_path, precision):
    """The second step has such an image. It also stops a training with loss scaling."""
    images = IMAGES.astype(np.float32)
    images[6, 2, 3, 1] = np.nan
    with pytest.raises(RunError) as caught:
        train(tmp_path, Training(epochs=3, precision=precision), images=images)
    lines = str(caught.value).splitlines()
    assert lines[0] == "training stopped: the loss or its gradient is not finite at epoch 1, step 2 of 2"
    assert lines[1] == "  files: 0-1-a.png, 0-1-b.png"
    assert lines[2] == "  first nonfinite layer: none; the images are not finite"
    assert not (tmp_path / "last.keras").exists()


def test_diagnosis_of_nonfinite_values():
    model = toy.network()
    assert diagnose(model, IMAGES[:1], MASKS[7:]) == (
        "none; all layer outputs are finite, the loss or its gradient is not (labels: 0, 1, 2, 255)"
    )
    model.get_layer("score").bias.assign([0.0, np.inf, 0.0])
    assert diagnose(model, IMAGES[:1], MASKS[:1]) == "score (Conv2D), whose weight score/bias is not finite"
    model.get_layer("conv").kernel.assign(np.full((3, 3, 3, 6), 1e38))
    assert diagnose(model, IMAGES[:1], MASKS[:1]) == "conv (Conv2D)"


def test_nonfinite_loss_without_file_names_and_batches(tmp_path):
    training = Training(epochs=1, optimizer=Sgd(learning_rate=1e30))
    with training.scope():
        model = toy.network(norm=False)
        training.compile(model, toy.LABELS, steps_per_epoch=2)
    with pytest.raises(RunError) as caught:
        model.fit(
            toy.batches(IMAGES, MASKS, 4),
            verbose=0,
            shuffle=False,
            validation_data=toy.batches(*VALIDATION, 4),
            callbacks=training.callbacks(tmp_path, toy.LABELS, steps_per_epoch=2),
        )
    assert "\n  files: unknown\n  first nonfinite layer: unknown\n" in str(caught.value)


def test_nonfinite_statistics_are_never_saved(tmp_path):
    class Spoil(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.get_layer("norm").moving_variance.assign([np.inf] * 6)

    with pytest.raises(RunError) as caught:
        train(tmp_path, Training(epochs=1), more=[Spoil()])
    assert str(caught.value) == (
        "training stopped after epoch 1: norm/moving_variance is not finite, although the loss is. Saved "
        "networks are from earlier epochs. Try a smaller training.optimizer.learning_rate; for batch normalization "
        "statistics with mixed_float16, try training.precision: mixed_bfloat16"
    )
    assert not list(tmp_path.glob("*.keras"))


def test_tensorboard_can_read_the_logs(run):
    """Reads them with the data provider of TensorBoard."""
    pytest.importorskip("tensorboard")
    from tensorboard import context
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    folder, _ = run
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder / "logs"))
    multiplexer.Reload()
    provider, request = MultiplexerDataProvider(multiplexer, str(folder)), context.RequestContext()
    scalars = provider.read_scalars(request, experiment_id="", plugin_name="scalars", downsample=100)
    table = rows(folder)
    assert set(scalars) == {"train", "validation"}
    for split, prefix in (("train", ""), ("validation", "val_")):
        for name in ("loss", "miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"):
            points = scalars[split][name]
            assert [point.step for point in points] == [1, 2, 3, 4]
            logged = [float(row[prefix + name]) for row in table]
            np.testing.assert_allclose([point.value for point in points], logged, rtol=1e-6)
    assert "learning_rate" in scalars["train"]
    images = provider.read_blob_sequences(request, experiment_id="", plugin_name="images", downsample=100)
    points = images["validation"]["sample_0"]
    assert [point.step for point in points] == [1, 2, 3, 4]
    width, height, png = (provider.read_blob(request, blob_key=value.blob_key) for value in points[-1].values)
    assert (width, height) == (b"24", b"8")
    panels = np.asarray(keras.utils.img_to_array(_decoded(png)))
    np.testing.assert_array_equal(panels[:, :8], VALIDATION[0][0])


def _decoded(png: bytes):
    from io import BytesIO

    from PIL import Image

    return Image.open(BytesIO(png))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_samples_of_any_number_of_channels(tmp_path, channels):
    image = keras.Input((None, None, channels), name="image")
    model = keras.Model(image, keras.layers.Conv2D(3, 1)(image))
    model.compile("sgd")
    training = Training()
    sample = (np.zeros((4, 6, channels), np.uint8), np.zeros((4, 6), np.int32))
    events = training.callbacks(tmp_path, toy.LABELS, steps_per_epoch=1, samples=[sample])[3]
    events.set_model(model)
    events.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    assert list((tmp_path / "logs" / "validation").iterdir())


def test_full_disk(tmp_path):
    """Runs in a process with a limit on file sizes. Errors are explained, and earlier files are unchanged."""
    script = Path(__file__).with_name("full_disk.py")
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    finished = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, check=False, env=environment
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    outcome = json.loads(finished.stdout)
    assert outcome["errors"] == {
        name: f"{tmp_path / path}: could not be written (File too large); {earlier}. Free disk space, and continue "
        "with --resume"
        for name, path, earlier in [
            ("Checkpoints", "last.keras", "the existing file is unchanged"),
            ("History", "history.csv", "the existing file is unchanged"),
            ("TensorBoardEvents", "logs", "the existing file is unchanged"),
            ("Curves", "history.png", "the existing file is unchanged"),
            ("Snapshots", "state/2.npz", "no partial file was left"),
        ]
    }
    assert outcome["changed"] == []
    assert outcome["fit"] == outcome["errors"]["History"]  # written when a training is resumed
    for name in ("model.keras", "last.keras"):
        assert keras.models.load_model(tmp_path / name).predict(IMAGES[:1], verbose=0).shape == (1, 8, 8, 3)
    training = Training(epochs=3)
    resumed = train(tmp_path, training, resume=True)
    assert int(resumed.optimizer.iterations) == 6


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "last.keras"
    with pytest.raises(RunError) as caught:
        save_model(toy.network(), path)
    assert re.fullmatch(
        re.escape(f"{path}: could not be written (")
        + "(Not a directory|File exists)"
        + re.escape("); no partial file was left. Free disk space, and start again, since no epoch was completed"),
        str(caught.value),
    )
