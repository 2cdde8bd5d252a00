"""Runs that are stopped anywhere and resumed, or extended, equal runs that were never stopped."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfseg
from tfseg.pipeline import Pipeline, load
from tfseg.training.checkpoint import Checkpoint
from tfseg.training.files import states

TINY = """\
name: tiny
seed: 3
labels: {names: [ground, disc, square]}
data:
  source: {type: shapes, size: 32, train: 10, val: 3}
  batch_size: 4
  augment: [flip, color_jitter]
model:
  backbone: {type: small_cnn, filters: 4}
  decoder: {type: fcn, strides: [16, 8, 4]}
training:
  steps: 3
  gradient_accumulation_steps: 2
  precision: mixed_float16
  schedule: constant
  metrics: [dice, image_miou]
"""
"""Two epochs of three batches; the second optimizer step spans both epochs."""
STEPS, ENDS, NEVER = Checkpoint(steps=1), None, Checkpoint(minutes=1e6)


class At(keras.callbacks.Callback):
    """Callback that calls `action` after a training batch, or before a validation batch, and records the batches."""

    def __init__(
        self, action: Callable[[], Any], train: tuple[int, int] | None = None, test: int | None = None
    ) -> None:
        super().__init__()
        self.action, self.train, self.test = action, train, test
        self.epoch = 0
        self.seen: list[Any] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.seen.append("begin")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append((self.epoch, batch))
        if self.train == (self.epoch, batch):
            self.action()

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.test == batch:
            self.test = None
            self.action()

    def on_train_end(self, logs: Any = None) -> None:
        self.seen.append("end")


def crash() -> None:
    raise InterruptedError


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Restores Python's handler of SIGINT, which background processes of a shell ignore."""
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    file = tmp_path_factory.mktemp("files") / "tiny.yaml"
    file.write_text(TINY)
    return load(file)


@pytest.fixture(scope="module")
def whole(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> tfseg.Run:
    return fit(pipeline, tmp_path_factory.mktemp("runs") / "whole")


def fit(pipeline: Pipeline, folder: Path, checkpoint: Checkpoint | None = STEPS, **options: Any) -> tfseg.Run:
    training = replace(pipeline.training, checkpoint=checkpoint)
    return tfseg.fit(replace(pipeline, training=training), folder, **{"verbose": False, **options})


def stopped(pipeline: Pipeline, folder: Path, at: At, checkpoint: Checkpoint | None = STEPS) -> list[int]:
    """Returns the optimizer steps of the states that a stopped run left."""
    with pytest.raises((InterruptedError, KeyboardInterrupt)):
        fit(pipeline, folder, checkpoint, callbacks=[at])
    return [int(path.name.split("-")[0]) for path in states(folder)]


def assert_equal(run: tfseg.Run, whole: tfseg.Run) -> None:
    assert_same_training(run, whole)
    assert_same_weights(run, whole, "model.keras")
    mine, theirs = ({**each.metrics["val"], "pipeline_sha256": ""} for each in (run, whole))  # of other intervals
    assert mine == theirs


def assert_same_training(run: tfseg.Run, whole: tfseg.Run) -> None:
    assert_same_weights(run, whole, "last.keras")
    assert [{**row, "seconds": 0} for row in run.history] == [{**row, "seconds": 0} for row in whole.history]


def assert_same_weights(run: tfseg.Run, whole: tfseg.Run, name: str) -> None:
    for mine, theirs in zip(run.model(name).weights, whole.model(name).weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=mine.path)


BATCHES = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    ("after", "saved", "first"),
    [((1, 1), [2, 1], (1, 1)), ((0, 2), [1], (0, 2)), ((1, 2), [2, 1], (1, 1)), ((1, 0), [1, 1], (1, 0))],
)
def test_crash_after_a_batch(
    pipeline: Pipeline, whole: tfseg.Run, after: tuple[int, int], saved: list[int], first: tuple[int, int],
    tmp_path: Path,
) -> None:  # fmt: skip
    """A state is saved after every optimizer step and every epoch. Resuming repeats only batches after the newest."""
    assert stopped(pipeline, tmp_path, At(crash, after)) == saved
    rest = At(crash)
    assert_equal(fit(pipeline, tmp_path, resume=True, callbacks=[rest]), whole)
    assert rest.seen == ["begin", *BATCHES[BATCHES.index(first) :], "end"]


@pytest.mark.slow
def test_crash_before_the_first_state(pipeline: Pipeline, whole: tfseg.Run, tmp_path: Path) -> None:
    assert stopped(pipeline, tmp_path, At(crash, (0, 1)), ENDS) == []
    assert_equal(fit(pipeline, tmp_path, resume=True), whole)


def test_signal_waits_until_the_state_is_saved(pipeline: Pipeline, whole: tfseg.Run, tmp_path: Path) -> None:
    """A signal in a batch, then one in the validation of the second epoch, whose batches are not repeated."""
    earlier = signal.getsignal(signal.SIGINT)
    assert stopped(pipeline, tmp_path, At(interrupt, (0, 0)), NEVER) == [0]
    assert signal.getsignal(signal.SIGINT) is earlier
    rest = At(interrupt, test=1)
    rest.on_epoch_end = lambda epoch, logs=None: setattr(rest, "test", 1)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        fit(pipeline, tmp_path, NEVER, resume=True, callbacks=[rest])
    assert rest.seen == ["begin", (0, 1), (0, 2)]
    rest = At(crash)
    assert_equal(fit(pipeline, tmp_path, NEVER, resume=True, callbacks=[rest]), whole)
    assert rest.seen == ["begin", (1, 0), (1, 1), (1, 2), "end"]


@pytest.mark.slow
def test_signal_in_the_last_validation(pipeline: Pipeline, whole: tfseg.Run, tmp_path: Path) -> None:
    """All batches are trained; the resumed run only validates."""
    at = At(interrupt)
    at.on_epoch_end = lambda epoch, logs=None: setattr(at, "test", 1)  # type: ignore[method-assign]
    assert stopped(pipeline, tmp_path, at, NEVER) == [3, 1]
    rest = At(crash)
    assert_equal(fit(pipeline, tmp_path, NEVER, resume=True, callbacks=[rest]), whole)
    assert rest.seen == ["begin", "end"]


@pytest.mark.slow
def test_second_signal_does_not_wait(pipeline: Pipeline, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        fit(pipeline, tmp_path, NEVER, callbacks=[At(twice, (0, 0))], verbose=True)
    assert states(tmp_path) == []
    notice = "Stopping as soon as the state of the training is saved. Repeat to stop at once."
    assert capfd.readouterr().err.count(notice) == 1


@pytest.mark.slow
def test_several_batches_per_call(pipeline: Pipeline, whole: tfseg.Run, tmp_path: Path) -> None:
    several = replace(pipeline, training=replace(pipeline.training, steps_per_execution=3))
    assert stopped(several, tmp_path, At(crash, (1, 2))) == [1]
    assert_equal(fit(several, tmp_path, resume=True), whole)
    with pytest.raises(tfseg.RunError) as caught:
        fit(replace(pipeline, training=replace(pipeline.training, steps_per_execution=2)), tmp_path / "new")
    assert str(caught.value) == (
        "training.steps_per_execution: expected a divisor of 3, since epochs have 3 batches and the training 6. "
        "Received: 2. Use one of 1, 3"
    )


@pytest.mark.slow
def test_ignored_signals_stay_ignored(pipeline: Pipeline, tmp_path: Path) -> None:
    """For example those of commands started with `nohup`."""
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = fit(
            replace(pipeline, training=replace(pipeline.training, steps=1)), tmp_path, callbacks=[At(interrupt, (0, 0))]
        )
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert len(run.history) == 1


@pytest.mark.slow
def test_extended_run(pipeline: Pipeline, whole: tfseg.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A finished run whose last epoch is incomplete goes on within this epoch. Its best network may be of this end."""
    fit(replace(pipeline, training=replace(pipeline.training, steps=1)), tmp_path)
    rest = At(crash)
    longer = fit(pipeline, tmp_path, resume=True, callbacks=[rest], verbose=True)
    assert (
        "Extended to 2 epochs, 3 steps: schedule constant spans all of them. The learning rate is now 0.001\n"
        in capsys.readouterr().out
    )
    assert_same_training(longer, whole)
    assert rest.seen == ["begin", *BATCHES[2:], "end"]
    with pytest.raises(tfseg.RunError) as caught:
        fit(replace(pipeline, training=replace(pipeline.training, steps=2)), tmp_path, resume=True)
    assert str(caught.value) == (
        f"{tmp_path}: was started with another pipeline. It differs in training.steps. "
        "Resume with the pipeline that the run was started with, or choose another folder with --run-dir."
    )


def test_interval_without_a_value_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY + "  checkpoint: {}\n")
    with pytest.raises(tfseg.SpecError) as caught:
        load(file)
    assert str(caught.value) == (
        f"{file}:17: training.checkpoint: expected minutes, steps or both; received neither. "
        "null saves the state after every epoch only"
    )
