"""Early stopping, against Keras and with resumption."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training.test_callbacks import Kill, rows, train
from tfseg.training import Training
from tfseg.training.early_stopping import EarlyStopping
from tfseg.training.optimizers import Sgd


def by_keras(values: list[float | None], patience: int, min_delta: float) -> int | None:
    """Returns the epoch, counted from 1, after which Keras stops."""
    callback = keras.callbacks.EarlyStopping("val_miou", min_delta=min_delta, patience=patience, mode="max")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    callback.set_model(model)
    callback.on_train_begin()
    model.stop_training = False
    for epoch, value in enumerate(values):
        if value is not None:
            callback.on_epoch_end(epoch, {"val_miou": value})
        if model.stop_training:
            return epoch + 1
    return None


def history(values: list[float | None]) -> list[dict[str, float]]:
    return [{"epoch": n, **({} if value is None else {"val_miou": value})} for n, value in enumerate(values, 1)]


@pytest.mark.parametrize("patience", [1, 2, 4])
@pytest.mark.parametrize("min_delta", [0.0, 0.05])
def test_stops_like_keras(patience: int, min_delta: float) -> None:
    """Random walks, some with epochs without validation or with NaN."""
    rng, stops = np.random.default_rng(0), set()
    for number in range(20):
        values: list[float | None] = list(np.cumsum(rng.normal(0.01, 0.03, 12)).astype(float))
        if number % 3 == 1:
            values[1::2] = [None] * 6
        if number % 5 == 1:
            values[4] = float("nan")
        progress = EarlyStopping(patience=patience, min_delta=min_delta).progress(history(values))
        assert progress.stopped == by_keras(values, patience, min_delta)
        stops.add(progress.stopped)
    assert len(stops) > 2


def test_progress_and_its_message() -> None:
    progress = EarlyStopping(patience=2).progress(history([0.25, 0.5, None, 0.5, 0.4, 0.9]))
    assert (progress.best, progress.best_epoch, progress.waited, progress.stopped) == (0.5, 2, 2, 5)
    assert str(progress) == (
        "Early stopping after epoch 5: val_miou has not improved for 2 validations; its best value is 0.5000, of "
        "epoch 2"
    )
    assert EarlyStopping().progress([]).stopped is None
    assert Training().stopped(history([0.5] * 99)) is None
    assert Training(early_stopping={}).stopped(history([0.5] * 10)) is None
    assert "after epoch 11:" in str(Training(early_stopping={}).stopped(history([0.5] * 11)))


def test_training_ends_early_and_resumes_exactly(tmp_path: Path) -> None:
    """With a tiny learning rate mIoU never improves by 0.9, so the patience of 2 ends the training in epoch 3."""
    training = Training(
        epochs=6,
        optimizer=Sgd(learning_rate=1e-6),
        early_stopping=EarlyStopping(patience=2, min_delta=0.9),
    )
    whole = train(tmp_path / "whole", training)
    assert [row["epoch"] for row in rows(tmp_path / "whole")] == ["1", "2", "3"]
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", training, more=[Kill(epoch=2)])
    resumed = train(tmp_path / "parts", training, resume=True)
    assert [row["epoch"] for row in rows(tmp_path / "parts")] == ["1", "2", "3"]
    for mine, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
