"""Runs that leave out invalid examples (`data.on_error: skip`)."""

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from PIL import Image

import tfseg
from tfseg.cli.commands import main
from tfseg.cli.formatting import format_metrics
from tfseg.pipeline import Pipeline, load
from tfseg.runs import skipped as skipping
from tfseg.runs.passed import _same_files
from tfseg.runs.skipped import SKIPPED, skipped_text

TINY = """\
name: tiny
labels: {names: [ground, disc]}
data: {source: folder, root: data, batch_size: 2, on_error: skip, max_skipped: 0.25}
model:
  backbone: {type: small_cnn, filters: 2}
  decoder: {type: fcn, strides: [16, 8, 4]}
training: {epochs: 1}
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """Eight training images, one of them truncated and one with an invalid mask, and four validation images, one with a
    mask of another size: exactly the limit, a quarter of each split."""
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for number in range(count):
            for part, high, shape in (("images", 256, (32, 32, 3)), ("masks", 2, (32, 32))):
                file = tmp_path / "data" / split / part / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(random.integers(0, high, shape).astype(np.uint8)).save(file)
    truncate(tmp_path / "data/train/images/1.png")
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(tmp_path / "data/train/masks/4.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "data/val/masks/2.png")
    (tmp_path / "tiny.yaml").write_text(TINY)
    return load(tmp_path / "tiny.yaml")


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


def stopped(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def forbidden(*_: Any) -> None:
    raise AssertionError("examples are decoded again")


def test_invalid_examples_are_left_out(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped between the first decoding and the first epoch, and resumed without decoding again."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "fit", stopped)
        with pytest.raises(KeyboardInterrupt):
            tfseg.fit(pipeline, run)
    assert f"Skipped 3 invalid examples: 2 of the split train, 1 of the split val; see {run}/{SKIPPED}" in (
        capsys.readouterr().out
    )
    recorded = (run / SKIPPED).read_bytes()
    splits = json.loads(recorded)["splits"]
    data = tmp_path / "data"
    assert [(split, each["name"]) for split in splits for each in splits[split]] == [
        ("train", "1"), ("train", "4"), ("val", "2"),
    ]  # fmt: skip
    assert splits["train"][0]["files"] == [f"{data}/train/images/1.png", f"{data}/train/masks/1.png"]
    assert splits["train"][1]["message"].startswith(f"{data}/train/masks/4.png: the mask contains 9; ")
    shutil.copy(data / "train/images/0.png", data / "train/images/1.png")  # repaired: positions must not shift
    monkeypatch.setattr(skipping, "invalid_examples", forbidden)
    done = tfseg.fit(pipeline, run, resume=True, verbose=False)
    assert (run / SKIPPED).read_bytes() == recorded
    assert (done.metrics["val"]["images"], done.metrics["val"]["skipped"]) == (3, 1)
    again = tfseg.evaluate(run, "train")
    assert (again["images"], again["skipped"]) == (6, 2)
    assert format_metrics(again).startswith("train: 6 images, 2 skipped\n")


def test_names_of_another_dataset_are_not_skipped(pipeline: Pipeline, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    assert _same_files(pipeline, load(file, ["inference.opacity=0.9"]))
    assert not _same_files(pipeline, load(file, [f"data.root={tmp_path}/other"]))
    assert not _same_files(pipeline, load(file, ["data.source.masks='{split}/others/{name}.png'"], look=False))


@pytest.mark.slow
def test_resuming_needs_the_list_of_skipped_examples(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(keras.Model, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        tfseg.fit(pipeline, run, verbose=False)
    for content in ("", "[]", '{"splits": {"train": [{"name": "1"}]}}', '{"splits": 1}'):
        (run / SKIPPED).write_text(content)
        with pytest.raises(tfseg.TfsegError) as caught:
            tfseg.fit(pipeline, run, resume=True, verbose=False)
        assert str(caught.value) == (
            f"{run}/{SKIPPED}: is corrupt. Expected a file written by `tfseg fit` with data.on_error=skip. Restore it, "
            "or start the training again with --overwrite."
        )
    (run / SKIPPED).unlink()
    with pytest.raises(tfseg.TfsegError) as caught:
        tfseg.fit(pipeline, run, resume=True, verbose=False)
    assert str(caught.value) == (
        f"{run}/{SKIPPED}: is missing. A resumed run with data.on_error=skip needs it to leave out the same examples. "
        "Restore it, or start the training again with --overwrite."
    )
    with pytest.raises(KeyboardInterrupt):
        tfseg.fit(pipeline, run, verbose=False)
    assert (run / SKIPPED).is_file(), "a run without a completed epoch may be started again"


def test_too_many_invalid_examples(pipeline: Pipeline, tmp_path: Path) -> None:
    truncate(tmp_path / "data/train/images/7.png")
    for number in range(4):
        truncate(tmp_path / f"data/val/images/{number}.png")
    run = tmp_path / "run"
    with pytest.raises(tfseg.TfsegError) as caught:
        tfseg.fit(pipeline, run, verbose=False)
    message = str(caught.value)
    assert message.startswith("train: 3 of 8 examples cannot be used. Expected at most 25.00% (data.max_skipped).")
    assert "\nval: 4 of 4 examples cannot be used. Expected at least one valid example." in message
    assert not (run / SKIPPED).exists() and not (run / "pipeline.yaml").exists()


def test_summary_without_invalid_examples() -> None:
    assert skipped_text({}, Path("run")) == "Skipped no examples: all can be used"


@pytest.mark.parametrize("command", [["show", "--output", "sheet.png"], ["stats"], ["bench"]])
def test_other_commands_leave_out_the_same_examples(
    command: list[str], pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", *command, "tiny.yaml"]) == 0
    if command == ["stats"]:
        printed = yaml.safe_load(capsys.readouterr().out)
        assert [printed[split]["images"] for split in ("train", "val")] == [6, 3]
