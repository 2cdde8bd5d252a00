"""Curves of a training."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfseg.errors import RunError
from tfseg.training import curves as module
from tfseg.training.curves import TRAINING, VALIDATION, Curves, curves
from tfseg.training.history import History


def row(epoch: int, **values: float) -> dict[str, float]:
    rest = {"loss": 1 / epoch, "miou": 1 - 1 / epoch, "dice": 0.3}
    return {"epoch": epoch, "seconds": 1.0, "learning_rate": 1e-3 / epoch, **rest, **values}


def validated(epoch: int, miou: float) -> dict[str, float]:
    return row(epoch, val_loss=0.5, val_miou=miou)


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Returns the list of the arguments with which charts are drawn."""
    calls: list[Any] = []
    monkeypatch.setattr(module, "chart", lambda *arguments: calls.append(arguments))
    return calls


def test_panels(panels: list[Any]) -> None:
    """Epochs without validation have no point of validation; the first of equal epochs is the best."""
    curves("shapes", [row(1), validated(2, 0.4), row(3), validated(4, 0.6), validated(5, 0.6)])
    ((title, (loss, miou, rate), label),) = panels
    assert (title, label) == ("shapes", "epoch")
    assert [panel.title for panel in (loss, miou, rate)] == ["loss", "mIoU", "learning rate"]
    assert [curve.name for curve in (*loss.curves, *miou.curves)] == ["training", "validation"] * 2
    assert loss.curves[0].points == tuple((epoch, 1 / epoch) for epoch in range(1, 6))
    assert loss.curves[1].points == ((2, 0.5), (4, 0.5), (5, 0.5))
    assert miou.curves[1].points == ((2, 0.4), (4, 0.6), (5, 0.6))
    assert rate.curves[0].points == tuple((epoch, 1e-3 / epoch) for epoch in range(1, 6))
    assert (miou.marked, miou.note) == ((4, 0.6), "best 0.600 in epoch 4")
    assert (loss.marked, loss.note, rate.marked) == (None, "", None)


def test_nonfinite_miou_is_never_the_best(panels: list[Any]) -> None:
    curves("x", [validated(1, math.nan), validated(2, 0.2), validated(3, math.inf)])
    curves("x", [validated(1, math.nan)])
    assert [call[1][1].marked for call in panels] == [(2, 0.2), None]


def test_colors_differ_without_color() -> None:
    first, second = (Image.new("RGB", (1, 1), color).convert("L").getpixel((0, 0)) for color in (TRAINING, VALIDATION))
    assert abs(first - second) > 80
    assert max(first, second) < 200, "too light on white"


@pytest.mark.parametrize(
    "rows",
    [
        [row(1)],
        [{"epoch": 1, "learning_rate": 0.0}],
        [validated(1, 0.0)],
        [validated(epoch, 0.5) for epoch in range(990, 1001)],
        [{**validated(epoch, math.nan), "loss": math.nan, "miou": math.nan} for epoch in (1, 2)],
        [row(epoch, loss=10.0 ** (100 * epoch), val_loss=-1e299 * epoch) for epoch in (1, 2, 3)],
        [row(epoch, **({"val_miou": 0.5} if epoch % 5 == 0 else {})) for epoch in range(1, 1001)],
    ],
)
def test_all_kinds_of_rows_are_drawn(rows: list[dict[str, float]]) -> None:
    image = curves("a-name_of.a_pipeline", rows)
    assert image.size == (1200, 380)
    assert np.asarray(image)[0].min() == 255


def test_file_is_a_function_of_the_rows(tmp_path: Path) -> None:
    """A link is replaced, and its target is unchanged."""
    rows = [validated(1, 0.3), row(2), validated(3, 0.2)]
    target = tmp_path / "target.txt"
    target.write_text("kept")
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        (folder / "history.png").symlink_to(target)
        history = History(folder, rows[:1])
        callback = Curves(folder, history, "tiny")
        for index in (1, 2):
            history.rows.append(rows[index])
            callback.on_epoch_end(index)
        contents.append((folder / "history.png").read_bytes())
        assert [path.name for path in folder.iterdir()] == ["history.png"]
        assert not (folder / "history.png").is_symlink()
    assert contents[0] == contents[1]
    assert target.read_text() == "kept"
    with Image.open(tmp_path / "a" / "history.png") as image:
        assert image.format == "PNG" and image.info == {}
        np.testing.assert_array_equal(np.asarray(image), np.asarray(curves("tiny", rows)))


def test_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "history.png" / "of the user").mkdir(parents=True)
    with pytest.raises(RunError) as caught:
        Curves(tmp_path, History(tmp_path, [row(1)]), "tiny").on_epoch_end(0)
    assert str(caught.value) == (
        f"{tmp_path}/history.png: could not be written (Is a directory); the existing file is unchanged. Free disk "
        "space, and start again, since no epoch was completed"
    )
    assert (tmp_path / "history.png" / "of the user").is_dir()
