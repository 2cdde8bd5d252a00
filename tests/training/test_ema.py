"""Moving averages of weights in a training: validation, saved networks, resumption."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training import toy
from tests.training.test_callbacks import VALIDATION, Kill, rows, train
from tfseg.spec.problems import SpecError
from tfseg.training import Training
from tfseg.training.ema import Ema
from tfseg.training.files import states
from tfseg.training.optimizers import AdamW

TRAINING = {"epochs": 3, "optimizer": AdamW(learning_rate=0.05), "ema": 0.75}


class Weights(keras.callbacks.Callback):
    """Callback that records the kernel of a layer at each event."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[np.ndarray]] = {}

    def _add(self, event: str) -> None:
        self.seen.setdefault(event, []).append(self.model.get_layer("score").kernel.numpy())

    def on_train_batch_begin(self, batch, logs=None) -> None:
        self._add("batch begin")

    def on_train_batch_end(self, batch, logs=None) -> None:
        self._add("batch end")

    def on_test_batch_begin(self, batch, logs=None) -> None:
        self._add("test")

    def on_epoch_end(self, epoch, logs=None) -> None:
        self._add("epoch end")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Returns the run directory and the recorded weights of a training of three epochs of two steps."""
    folder, weights = tmp_path_factory.mktemp("run"), Weights()
    train(folder, Training(**TRAINING), dropout=0.3, more=[weights])
    return folder, weights.seen


def averages(seen: list[np.ndarray]) -> list[np.ndarray]:
    """Returns the average after each step."""
    found = [seen[0].astype(np.float64)]
    for weight in seen[1:]:
        found.append(0.75 * found[-1] + 0.25 * weight)
    return found


def kernel(path: Path) -> np.ndarray:
    return keras.models.load_model(path).get_layer("score").kernel.numpy()


def test_raw_weights_in_training_and_averages_in_validation(run):
    _, seen = run
    expected = averages(seen["batch end"])
    assert np.abs(expected[1] - seen["batch end"][1]).max() > 1e-3
    np.testing.assert_array_equal(seen["batch begin"][1:], seen["batch end"][:-1])
    np.testing.assert_array_equal(seen["epoch end"], seen["batch end"][1::2])
    for epoch, value in enumerate(seen["test"]):
        np.testing.assert_allclose(value, expected[2 * epoch + 1], rtol=1e-5, atol=1e-7)


def test_saved_networks_have_the_averages(run):
    folder, seen = run
    values = [float(row["val_miou"]) for row in rows(folder)]
    for name, epoch in (("last.keras", 2), ("model.keras", int(np.argmax(values)))):
        np.testing.assert_array_equal(kernel(folder / name), seen["test"][epoch])
    best = keras.models.load_model(folder / "model.keras")
    Training().compile(best, toy.LABELS, steps_per_epoch=1)
    metrics = best.evaluate(toy.batches(*VALIDATION, 4), verbose=0, return_dict=True)
    assert metrics["miou"] == pytest.approx(max(values))


def test_state_files_have_raw_weights_and_averages(run):
    folder, seen = run
    with np.load(states(folder)[0]) as archive:
        arrays = [archive[name] for name in archive.files]
    for expected in (seen["batch end"][-1], seen["test"][-1]):
        assert any(np.array_equal(array, expected) for array in arrays)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "options",
    [{"precision": "mixed_float16"}, {"optimizer": {"type": "keras", "class": "Lion"}}, {"validation_freq": 2}],
    ids=str,
)
def test_resume_is_exact(tmp_path, options):
    training = Training(**{**TRAINING, **options})
    whole, parts = train(tmp_path / "whole", training), tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        train(parts, training, more=[Kill(epoch=1)])
    resumed = train(parts, training, resume=True)
    variables = [[*model.variables, *model.optimizer.variables] for model in (resumed, whole)]
    for mine, theirs in zip(*variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=mine.path)
    np.testing.assert_array_equal(kernel(parts / "last.keras"), kernel(tmp_path / "whole" / "last.keras"))
    for mine, theirs in zip(rows(parts), rows(tmp_path / "whole"), strict=True):
        assert {**mine, "seconds": ""} == {**theirs, "seconds": ""}


@pytest.mark.slow
def test_neither_averages_nor_validation_affect_the_training(tmp_path, run):
    _, seen = run
    for name, options in (("plain", {"ema": None}), ("seldom", {"validation_freq": 3})):
        weights = Weights()
        train(tmp_path / name, Training(**{**TRAINING, **options}), dropout=0.3, more=[weights])
        np.testing.assert_array_equal(weights.seen["batch end"], seen["batch end"])


@pytest.mark.slow
def test_epoch_without_an_optimizer_step(tmp_path):
    """It has no averages, so the raw weights are validated and saved."""
    training = Training(**{**TRAINING, "epochs": 2}, gradient_accumulation_steps=3)
    weights = Weights()
    model = train(tmp_path, training, more=[weights])
    np.testing.assert_array_equal(weights.seen["test"][0], weights.seen["batch begin"][0])
    assert int(model.optimizer.averaged_steps.numpy()) == 1
    np.testing.assert_array_equal(weights.seen["test"][1], weights.seen["batch end"][-1])


def test_number_is_short_for_the_momentum():
    assert Training(ema=0.99) == Training(ema={"momentum": 0.99}) == Training(ema=Ema(momentum=0.99))
    assert Training(ema={}).ema == Ema(momentum=0.999)
    with pytest.raises(SpecError, match=r"ema.momentum: expected a number greater than 0 and less than 1; received 1"):
        Training(ema=1)
    with pytest.raises(SpecError, match=r"ema: expected a mapping with keys among momentum or null; received true"):
        Training(ema=True)
