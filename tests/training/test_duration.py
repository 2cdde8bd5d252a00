"""Duration of a training in epochs, optimizer steps and accumulated batches."""

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.training import toy
from tfseg.training import Training
from tfseg.training.duration import Duration
from tfseg.training.optimizers import Sgd
from tfseg.training.schedules import Poly, Step

IMAGES, MASKS = toy.examples(10)


@pytest.mark.parametrize(
    ("given", "batches", "epochs", "steps"),
    [
        ({"epochs_at_most": 3}, 15, 3, 15),
        ({"steps": 12}, 12, 3, 12),
        ({"steps": 10}, 10, 2, 10),
        ({"epochs_at_most": 2, "steps": 12}, 10, 2, 10),
        ({"epochs_at_most": 3, "accumulate": 4}, 15, 3, 3),
        ({"steps": 3, "accumulate": 4}, 12, 3, 3),
        ({"epochs_at_most": 1, "accumulate": 9}, 5, 1, 1),
    ],
)
def test_duration_with_five_batches_per_epoch(given: dict[str, int], batches: int, epochs: int, steps: int) -> None:
    duration = Duration(5, **given)
    assert (duration.batches, duration.epochs, duration.total_steps) == (batches, epochs, steps)
    assert duration.steps_per_epoch == 5 / given.get("accumulate", 1)


def test_default_is_thirty_epochs() -> None:
    assert Training().epochs == 30
    assert Training(steps=7).epochs is None
    assert (Training(epochs=2).epochs, Training(epochs=2, steps=7).epochs) == (2, 2)


def trained(folder: Path, training: Training, **options: int) -> tuple[int, list[dict[str, str]]]:
    """Returns the number of optimizer steps and the history."""
    with training.scope(seed=1):
        model = toy.network()
        training.compile(model, toy.LABELS, steps_per_epoch=5)
    length = training.length(5)
    model.fit(
        toy.batches(IMAGES, MASKS, 2, length.epochs),
        steps_per_epoch=5,
        epochs=length.epochs,
        shuffle=False,
        verbose=0,
        validation_data=toy.batches(IMAGES, MASKS, 2),
        validation_freq=list(training.validated_epochs(5)),
        callbacks=training.callbacks(folder, toy.LABELS, steps_per_epoch=5),
    )
    with open(folder / "history.csv", newline="") as lines:
        return int(model.optimizer.iterations), list(csv.DictReader(lines))


def test_training_ends_within_an_epoch(tmp_path: Path) -> None:
    """It takes exactly `steps` steps, and the incomplete last epoch is validated and saved."""
    steps, history = trained(tmp_path, Training(steps=12, validation_freq=2, optimizer=Sgd(), schedule=Poly()))
    assert steps == 12
    assert [bool(row["val_miou"]) for row in history] == [False, True, True]
    rates = [float(row["learning_rate"]) for row in history]
    np.testing.assert_allclose(rates, [0.01 * (1 - step / 12) ** 0.9 for step in (5, 10, 12)], rtol=1e-5, atol=1e-9)
    assert (tmp_path / "last.keras").is_file()


def test_schedules_count_optimizer_steps_not_batches(tmp_path: Path) -> None:
    training = Training(epochs=4, gradient_accumulation_steps=4, optimizer=Sgd(), schedule=Step(every=2, unit="steps"))
    steps, history = trained(tmp_path, training)
    assert steps == 5
    rates = [float(row["learning_rate"]) for row in history]  # after 5, 10, 15 and 20 batches: 1, 2, 3 and 5 steps
    np.testing.assert_allclose(rates, [0.01, 0.001, 0.001, 0.0001], rtol=1e-5)


@pytest.mark.parametrize(("accumulate", "length"), [(1, 5), (4, 1), (2, 3)])
def test_step_schedule_in_epochs_with_accumulation(accumulate: int, length: int) -> None:
    """An epoch of 5 batches has 5 steps, or 1.25 (rounded to 1), or 2.5 (1.2 epochs are 3 steps)."""
    training = Training(epochs=4, gradient_accumulation_steps=accumulate)
    steps_per_epoch = training.length(5).steps_per_epoch
    schedule = Step(every=1.2 if accumulate == 2 else 1)(0.1, steps=20, steps_per_epoch=steps_per_epoch)
    rates = [float(schedule(step)) for step in range(length + 1)]
    np.testing.assert_allclose(rates, [0.1] * length + [0.01], rtol=1e-5)
