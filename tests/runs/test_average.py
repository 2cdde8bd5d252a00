"""Early stopping and the average of the last networks in `tfseg.fit`."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import tfseg
from tests.runs.test_run import TINY
from tfseg.pipeline import Pipeline, load
from tfseg.runs import average
from tfseg.runs.average import average_checkpoints, validated
from tfseg.training.files import checkpoints

pytestmark = pytest.mark.usefixtures("one_isolated_worker")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    file = tmp_path_factory.mktemp("files") / "tiny.yaml"
    file.write_text(TINY)
    changes = ("training.early_stopping={patience: 1, min_delta: 0.9}", "training.average_checkpoints=3")
    return load(file, ("training.epochs=5", "training.schedule=constant", *changes))


@pytest.fixture(scope="module")
def run(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> tfseg.Run:
    """Returns a run that keeps the networks of its epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(average, "remove", lambda path: None)
        return tfseg.fit(pipeline, tmp_path_factory.mktemp("runs") / "tiny", verbose=False)


@pytest.fixture
def copied(run: tfseg.Run, tmp_path: Path) -> tfseg.Run:
    shutil.copytree(run.folder, tmp_path / "run")
    return tfseg.Run(tmp_path / "run")


def report(run: tfseg.Run) -> dict:
    return json.loads((run.folder / "average.json").read_text())


def again(pipeline: Pipeline, run: tfseg.Run, rows: list[dict[str, float]] | None = None) -> str | None:
    data = pipeline.data.open(pipeline.labels, pipeline.seed)
    return average_checkpoints(pipeline, data, run, rows or run.history, lambda model: None)


def same(one: keras.Model, other: keras.Model) -> bool:
    return all(np.array_equal(*pair) for pair in zip(one.get_weights(), other.get_weights(), strict=True))


def test_early_stopping_ends_the_training(run: tfseg.Run) -> None:
    """No epoch is better than the first by 0.9, so the second of five is the last one."""
    assert [row["epoch"] for row in run.history] == [1.0, 2.0]
    assert run.metrics["val"]["miou"] >= 0
    assert (run.folder / "state" / "finished").is_file()


def test_resuming_after_an_early_stop_trains_no_further(
    copied: tfseg.Run, pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """The process was killed between the last epoch and the end of the evaluation, and the history was deleted."""
    before = copied.model("last.keras")
    for name in ("state/finished", "metrics-val.json", "average.json", "average.keras", "history.csv"):
        (copied.folder / name).unlink()
    tfseg.fit(pipeline, copied.folder, resume=True)
    assert [row["epoch"] for row in copied.history] == [1.0, 2.0]
    assert same(copied.model("last.keras"), before)
    out = capsys.readouterr().out
    assert "Early stopping after epoch 2: val_miou has not improved for 1 validations; its best value is 0." in out
    assert "Average of the networks of 2 epochs (1 to 2): val_miou 0." in out
    assert not (copied.folder / "checkpoints").exists()


def test_average_of_the_last_networks(run: tfseg.Run, pipeline: Pipeline) -> None:
    """Its metric is computed as in the training, and `model.keras` is the better one."""
    kept, data = checkpoints(run.folder), pipeline.data.open(pipeline.labels, pipeline.seed)
    assert list(kept) == report(run)["epochs"] == [1, 2]
    networks = [run.model(f"checkpoints/{epoch}.keras") for epoch in kept]
    found = run.model("average.keras")
    for weight, *each in zip(found.get_weights(), *(model.get_weights() for model in networks), strict=True):
        np.testing.assert_array_equal(weight, np.mean(each, 0, dtype=np.float64).astype("float32"))
    for model, row in zip(networks, run.history, strict=True):
        assert validated(pipeline, data, model) == pytest.approx(row["val_miou"], abs=1e-6)
    best = max(run.history, key=lambda row: row["val_miou"])
    assert report(run)["val_miou"] == pytest.approx(validated(pipeline, data, found), abs=1e-6)
    assert (report(run)["best_epoch"], report(run)["best_val_miou"]) == (best["epoch"], best["val_miou"])
    assert report(run)["selected"] is (report(run)["val_miou"] > best["val_miou"])
    assert same(run.model(), found if report(run)["selected"] else networks[int(best["epoch"]) - 1])


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("better", [True, False])
def test_better_average_becomes_the_best_network(copied: tfseg.Run, pipeline: Pipeline, better: bool) -> None:
    """Also if the process was killed after the report was written."""
    shutil.copyfile(copied.folder / "checkpoints" / "1.keras", copied.folder / "model.keras")
    rows = [{"epoch": 1.0, "val_miou": -1.0 if better else 2.0}, {"epoch": 2.0}]
    (copied.folder / "average.json").unlink()
    message = again(pipeline, copied, rows)
    decision = "saved as model.keras" if better else "model.keras remains the network of that epoch"
    pattern = r"Average of the networks of 2 epochs \(1 to 2\): val_miou 0\.\d{4}, best epoch \(1\): -?\d\.0000; "
    assert message is not None and re.fullmatch(pattern + decision, message)
    assert same(copied.model(), copied.model("average.keras" if better else "model.keras"))
    assert same(copied.model(), copied.model("average.keras")) is better
    if better:
        shutil.copyfile(copied.folder / "last.keras", copied.folder / "model.keras")
    assert again(pipeline, copied, rows) == message
    assert same(copied.model(), copied.model("average.keras")) is better


@pytest.mark.slow
def test_damaged_network_is_not_averaged(
    copied: tfseg.Run, pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    (copied.folder / "average.json").unlink()
    shutil.copyfile(copied.folder / "last.keras", copied.folder / "checkpoints" / "3.keras")
    (copied.folder / "checkpoints" / "2.keras").write_bytes(b"half")
    assert again(pipeline, copied) is not None
    assert report(copied)["epochs"] == [1, 3]
    (message,) = caplog.messages
    assert message.startswith(f"{copied.folder}/checkpoints/2.keras: ")
    assert message.endswith("The network of epoch 2 is not averaged")


def test_nothing_to_average(copied: tfseg.Run, pipeline: Pipeline) -> None:
    """One network is left, then none that can be read, then none."""
    for name in ("average.json", "average.keras", "checkpoints/1.keras"):
        (copied.folder / name).unlink()
    assert again(pipeline, copied) is None
    (copied.folder / "checkpoints" / "2.keras").write_bytes(b"half")
    assert again(pipeline, copied) is None
    (copied.folder / "checkpoints" / "2.keras").unlink()
    assert again(pipeline, copied) is None
    assert not (copied.folder / "average.keras").exists()


@pytest.mark.slow
def test_average_with_batch_norm_batches_and_moving_averages(pipeline: Pipeline, tmp_path: Path) -> None:
    """The best network, whose statistics are re-estimated too, is validated again for the comparison."""
    training = replace(pipeline.training, early_stopping=None, epochs=3, batch_norm_batches=2, ema={"momentum": 0.5})
    run = tfseg.fit(replace(pipeline, training=training), tmp_path / "run", verbose=False)
    data = pipeline.data.open(pipeline.labels, pipeline.seed)
    result = report(run)
    assert result["epochs"] == [1, 2, 3]
    assert result["val_miou"] == pytest.approx(validated(pipeline, data, run.model("average.keras")), abs=1e-6)
    best = max(result["val_miou"], result["best_val_miou"])
    assert validated(pipeline, data, run.model()) == pytest.approx(best, abs=1e-6)
