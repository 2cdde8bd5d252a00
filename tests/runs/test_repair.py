"""Damaged files of a run that is resumed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tfseg
from tests.runs.test_run import TINY
from tfseg.pipeline import Pipeline, load
from tfseg.runs.average import selected_average


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    file = tmp_path_factory.mktemp("files") / "tiny.yaml"
    file.write_text(TINY)
    return load(file, ("training.epochs=2", "training.ema=0.5"))


@pytest.fixture(scope="module")
def run(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> tfseg.Run:
    return tfseg.fit(pipeline, tmp_path_factory.mktemp("runs") / "tiny", verbose=False)


def weights(run: tfseg.Run, name: str) -> list[np.ndarray]:
    return run.model(name).get_weights()


def test_damaged_files_after_the_last_epoch(
    pipeline: Pipeline, run: tfseg.Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The process was killed before the evaluation. All is restored but the best network, with averaged weights."""
    shutil.copytree(run.folder, tmp_path / "run")
    damaged = tfseg.Run(tmp_path / "run")
    (damaged.folder / "state" / "finished").unlink()
    (damaged.folder / "last.keras").write_bytes(b"half")
    (damaged.folder / "model.keras").unlink()
    (damaged.folder / "model.keras").mkdir()
    (damaged.folder / "history.csv").unlink()
    (damaged.folder / "history.png").unlink()
    tfseg.fit(pipeline, damaged.folder, resume=True, verbose=False)
    for name in ("last.keras", "model.keras"):
        for mine, theirs in zip(weights(damaged, name), weights(run, "last.keras"), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert damaged.history == run.history
    assert (damaged.folder / "history.png").read_bytes() == (run.folder / "history.png").read_bytes()
    expected = "Keras cannot load it: it is not a complete zip archive. Expected a .keras file written by `tfseg fit`."
    assert caplog.messages[:2] == [
        f"{damaged.folder}/last.keras: {expected} It is written again from the state of the training",
        f"{damaged.folder}/model.keras: is not a file. Expected a .keras file or a run directory. Received: a folder. "
        "The best network of the epochs so far is lost; that of the remaining epochs is saved",
    ]


def test_best_value_of_a_selected_average(tmp_path: Path) -> None:
    """Damaged reports count as none."""
    report = {"epochs": [1, 2], "val_miou": 0.5, "selected": True}
    for content, value in (
        (json.dumps(report), 0.5),
        (json.dumps({**report, "selected": False}), float("-inf")),
        ("[" * 100_000, float("-inf")),
        ("{}", float("-inf")),
    ):
        (tmp_path / "average.json").write_text(content)
        assert selected_average(tmp_path) == value
