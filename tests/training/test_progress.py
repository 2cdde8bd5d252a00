"""What is printed while a training runs."""

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
def test_an_epoch_that_is_cut_short_shows_its_own_length(verbose: int, capfd: pytest.CaptureFixture[str]) -> None:
    train(Duration(batches_per_epoch=8, steps=11), verbose)
    out = capfd.readouterr().out
    assert "Epoch 1/2" in out and "8/8" in out and "3/3" in out
    assert "3/8" not in out


def test_one_line_an_epoch_and_no_control_characters_where_there_is_no_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    train(Duration(batches_per_epoch=8, epochs_at_most=2), verbosity(True))
    lines = capfd.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["Epoch 1/2", "8/8", "Epoch 2/2", "8/8"]
    assert all(line.isprintable() for line in lines)


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (verbosity(False), verbosity(True)) == (0, 2)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert (verbosity(False), verbosity(True)) == (0, 1)
