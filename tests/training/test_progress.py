"""Printed progress of a training."""

import keras
import numpy as np
import pytest

from tfseg.training.duration import Duration, End
from tfseg.training.progress import Progress, verbosity


def train(length: Duration, verbose: int) -> None:
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(
        np.zeros((16, 2)),
        np.zeros((16, 1)),
        batch_size=2,
        epochs=length.epochs,
        callbacks=[End(length), Progress(length)],
        verbose=verbose,
    )


@pytest.mark.parametrize("verbose", [1, 2])
def test_incomplete_epoch_shows_its_number_of_batches(verbose: int, capfd: pytest.CaptureFixture[str]) -> None:
    train(Duration(batches_per_epoch=8, steps=11), verbose)
    out = capfd.readouterr().out
    assert "Epoch 1/2" in out and "8/8" in out and "3/3" in out
    assert "3/8" not in out


def test_without_a_terminal_each_epoch_prints_plain_lines(
    capfd: pytest.CaptureFixture[str],
) -> None:
    train(Duration(batches_per_epoch=8, epochs_at_most=2), verbosity(True))
    lines = capfd.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["Epoch 1/2", "8/8", "Epoch 2/2", "8/8"]
    assert all(line.isprintable() for line in lines)


def test_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (verbosity(False), verbosity(True)) == (0, 2)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert (verbosity(False), verbosity(True)) == (0, 1)
