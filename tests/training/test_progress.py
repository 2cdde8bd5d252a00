"""Progress of a training on standard output, with a clock and memory of the test."""

import io
import itertools
import math
import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.callbacks.callback_list import CallbackList

from tfseg.training import memory
from tfseg.training.duration import Duration, End
from tfseg.training.progress import Progress, duration, image_bar, number, short, verbosity
from tfseg.training.status_line import Part, StatusLine, bar, fitted

TRAINED = {"loss": 0.4123, "miou": 0.5512, "pixel_accuracy": 0.9}
VALIDATED = {"val_loss": 0.5, "val_miou": 0.49, "val_pixel_accuracy": 0.8}


class Clock:
    """Time that passes in `sleep` only."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def screens(self) -> list[str]:
        """Returns what was visible on the current line after every update."""
        return [text.rstrip() for text in self.getvalue().replace("\n", "").split("\r") if text]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tfseg.training.progress.time", clock)
    monkeypatch.setattr("tfseg.training.progress.peak_memory", lambda: 1_234_000_000)
    monkeypatch.setattr("tfseg.training.progress.peak_gpu_memory", lambda: None)
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Terminal]:
    """Returns a function that makes standard output a terminal of a number of columns."""

    def start(columns: int, encoding: str = "utf-8") -> Terminal:
        terminal = Terminal()
        monkeypatch.setattr(terminal, "encoding", encoding)
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("COLUMNS", str(columns))
        return terminal

    return start


def shown(length: Duration, line: StatusLine, **options: Any) -> Progress:
    """Returns the callback, with a learning rate that depends on nothing."""
    options = {"batch_size": 4, "validated": range(1, length.epochs + 1), **options}
    progress = Progress(length, line, **options)
    progress.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=4.2e-4)))
    return progress


def train(
    progress: Progress,
    clock: Clock,
    *,
    seconds: float = 1.0,
    pause: float = 10.0,
    start: tuple[int, int] = (0, 0),
    logs: Callable[[int], Mapping[str, float]] = lambda epoch: {**TRAINED, **VALIDATED},
) -> None:
    """Calls the callback like `model.fit`, from an epoch and a batch on. A validation takes `pause`."""
    length = progress.length
    for epoch in range(start[0], length.epochs):
        progress.on_epoch_begin(epoch)
        whole, first = length.batches_per_epoch, start[1] if epoch == start[0] else 0
        end = logs(epoch)
        for batch in range(first, min(whole, length.batches - epoch * whole)):
            clock.sleep(seconds)
            progress.on_train_batch_end(batch, {k: v for k, v in end.items() if not k.startswith("val_")})
        clock.sleep(pause if "val_loss" in end else 0.0)
        progress.on_epoch_end(epoch, end)


def test_lines_without_a_terminal(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per epoch, without carriage returns and bars."""
    mious = [0.3, 0.55, 0.5]
    with StatusLine() as line:
        progress = shown(Duration(8, epochs_at_most=3), line)
        train(progress, clock, logs=lambda epoch: {**TRAINED, **VALIDATED, "val_miou": mious[epoch]})
    rest = "lr 4.2e-04  4.0 images/s"
    assert capsys.readouterr().out == (
        f"epoch 1/3  loss 0.412  mIoU 0.551  val loss 0.500  val mIoU 0.300 (best)  {rest}  0:36 left  1.2 GB\n"
        f"epoch 2/3  loss 0.412  mIoU 0.551  val loss 0.500  val mIoU 0.550 (best)  {rest}  0:18 left  1.2 GB\n"
        f"epoch 3/3  loss 0.412  mIoU 0.551  val loss 0.500  val mIoU 0.500  {rest}  took 0:54  1.2 GB\n"
    )


def test_line_of_a_terminal_is_updated_in_position(clock: Clock, terminal: Callable[..., Terminal]) -> None:
    screen = terminal(120)
    with StatusLine() as line:
        train(shown(Duration(4, epochs_at_most=1), line), clock)
    rest = "lr 4.2e-04"
    assert screen.screens() == [
        "epoch 1/1  ──────────",
        f"epoch 1/1  ━━────────  1/4  loss 0.412  mIoU 0.551  {rest}  1.2 GB",
        f"epoch 1/1  ━━━━━─────  2/4  loss 0.412  mIoU 0.551  {rest}  4.0 images/s  0:02 left  1.2 GB",
        f"epoch 1/1  ━━━━━━━───  3/4  loss 0.412  mIoU 0.551  {rest}  4.0 images/s  0:01 left  1.2 GB",
        f"epoch 1/1  ━━━━━━━━━━  4/4  loss 0.412  mIoU 0.551  {rest}  4.0 images/s  0:00 left  1.2 GB",
        f"epoch 1/1  loss 0.412  mIoU 0.551  val loss 0.500  val mIoU 0.490 (best)  {rest}  4.0 images/s  took 0:14"
        "  1.2 GB",
    ]
    assert screen.getvalue().count("\n") == 1 and screen.getvalue().endswith("\n")


FULL = (
    "epoch 1/2  ━━━━━━━───  3/4  loss 0.412  mIoU 0.551  dice 0.600  logits_dice 0.700  lr 4.2e-04  4.0 images/s  "
    "0:05 left  1.2 GB"
)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (200, FULL),
        (len(FULL) + 1, FULL),
        (len(FULL), FULL.replace("  logits_dice 0.700", "")),
        (101, FULL.replace("  dice 0.600  logits_dice 0.700", "")),
        (90, "epoch 1/2  ━━━━━━━───  3/4  loss 0.412  mIoU 0.551  lr 4.2e-04  4.0 images/s  0:05 left"),
        (87, "epoch 1/2  ━━━━━━━───  loss 0.412  mIoU 0.551  lr 4.2e-04  4.0 images/s  0:05 left"),
        (80, "epoch 1/2  ━━━━━━━───  loss 0.412  mIoU 0.551  4.0 images/s  0:05 left"),
        (60, "epoch 1/2  ━━━━━━━───  loss 0.412  mIoU 0.551  0:05 left"),
        (50, "epoch 1/2  loss 0.412  mIoU 0.551  0:05 left"),
        (40, "epoch 1/2  loss 0.412  0:05 left"),
        (25, "epoch 1/2  loss 0.412"),
        (12, "epoch 1/2"),
        (5, "epoc"),
        (1, ""),
    ],
)
def test_narrow_terminals(clock: Clock, terminal: Callable[..., Terminal], columns: int, text: str) -> None:
    """Parts are left out in a defined order. The last column stays empty, so that no terminal wraps the line."""
    screen = terminal(columns)
    logs = {**TRAINED, "dice": 0.6, "logits_dice": 0.7, "logits_loss": 0.3, "aux_side_loss": 0.2}
    with StatusLine() as line:
        progress = shown(Duration(4, epochs_at_most=2), line)
        progress.on_epoch_begin(0)
        for batch in range(3):
            clock.sleep(1)
            progress.on_train_batch_end(batch, logs)
    last = screen.getvalue().split("\r")[-1]
    assert last.rstrip() == text
    assert len(last.strip("\n")) < max(columns, 2)


def test_shorter_text_overwrites_a_longer_one(terminal: Callable[..., Terminal]) -> None:
    screen = terminal(30)
    with StatusLine() as line:
        for text in ("epoch 1/2  loss 0.412", "epoch 1/2", "epoch 1"):
            line.update([Part(text, 0)])
        line.complete([Part("epoch", 0)])
        line.update([Part("e", 0)])
    assert screen.getvalue() == (
        "\repoch 1/2  loss 0.412\repoch 1/2            \repoch 1  \repoch  \n\re\n"
    )  # after a line break, there is nothing to overwrite


def test_final_line_of_a_narrow_terminal(clock: Clock, terminal: Callable[..., Terminal]) -> None:
    screen = terminal(80)
    with StatusLine() as line:
        train(shown(Duration(4, epochs_at_most=1), line), clock)
    assert screen.screens()[-1] == "epoch 1/1  loss 0.412  mIoU 0.551  val mIoU 0.490 (best)  took 0:14"


def test_at_most_ten_updates_per_second(clock: Clock, terminal: Callable[..., Terminal]) -> None:
    screen = terminal(100)
    with StatusLine() as line:
        progress = shown(Duration(1000, epochs_at_most=1), line)
        progress.on_epoch_begin(0)
        for batch in range(1000):
            clock.sleep(0.003)
            progress.on_train_batch_end(batch, TRAINED)
        progress.on_test_begin()
        for batch in range(1000):
            clock.sleep(0.003)
            progress.on_test_batch_end(batch)
    updates = screen.getvalue().count("\r")
    assert 40 < updates <= 61


def test_learning_rate_is_read_once_per_second(clock: Clock, terminal: Callable[..., Terminal]) -> None:
    """It is read again at the end of the epoch."""
    screen = terminal(200)
    rates = iter(np.arange(1, 99) / 100)

    class Optimizer:
        @property
        def learning_rate(self) -> float:
            return float(next(rates))

    with StatusLine() as line:
        progress = shown(Duration(100, epochs_at_most=1), line)
        progress.set_model(SimpleNamespace(optimizer=Optimizer()))
        train(progress, clock, seconds=0.25)
    read = [text.partition("  lr ")[2][:7] for text in screen.screens()[1:]]
    assert [rate for rate, _ in itertools.groupby(read)] == [f"{index / 100:.1e}" for index in range(1, 27)]


def test_validation_is_shown(clock: Clock, terminal: Callable[..., Terminal]) -> None:
    """Calls after the end of the validation, from other threads, are ignored."""
    screen = terminal(100)
    with StatusLine() as line:
        progress = shown(Duration(2, epochs_at_most=1), line)
        progress.on_epoch_begin(0)
        for batch in range(2):
            clock.sleep(1)
            progress.on_train_batch_end(batch, TRAINED)
        progress.on_test_begin()
        clock.sleep(1)
        progress.on_test_batch_end(56)
        progress.on_test_end()
        clock.sleep(1)
        progress.on_test_batch_end(57)
    assert screen.screens()[-1] == "epoch 1/1  validation 57  loss 0.412  mIoU 0.551"


def test_incomplete_last_epoch(clock: Clock, terminal: Callable[..., Terminal]) -> None:
    """With 11 optimizer steps of 2 batches, the third epoch has 6 of 8 batches."""
    screen = terminal(200)
    with StatusLine() as line:
        train(shown(Duration(8, accumulate=2, steps=11), line), clock)
    third = [text for text in screen.screens() if text.startswith("epoch 3/3")]
    assert [text.split("  ")[2] for text in third[1:-1]] == ["1/6", "2/6", "3/6", "4/6", "5/6", "6/6"]
    assert "━━━━━━━━━━" in third[-2]
    assert "  took 0:52  " in third[-1]


@pytest.mark.parametrize(
    ("start", "counts", "left"),
    [((2, 0), ["1/8", "2/8"], "0:14 left"), ((2, 5), ["6/8", "7/8"], "0:09 left")],
)
def test_resumed_runs(
    clock: Clock, terminal: Callable[..., Terminal], start: tuple[int, int], counts: list[str], left: str
) -> None:
    """They start at their epoch, and at their batch in it, and know the best mIoU."""
    screen = terminal(200)
    with StatusLine() as line:
        progress = shown(Duration(8, epochs_at_most=4), line, best=0.49)
        train(progress, clock, start=start, pause=0.0, logs=lambda epoch: {**TRAINED, **VALIDATED})
    screens = screen.screens()
    assert [text.split("  ")[0] for text in screens[:1]] == ["epoch 3/4"]
    assert [text.split("  ")[2] for text in screens[1:3]] == counts
    assert f"  {left}" in screens[2]
    assert "val mIoU 0.490  " in screens[-1]


def test_two_calls_of_fit(clock: Clock, terminal: Callable[..., Terminal]) -> None:
    """The rest of an epoch may be trained by a call of its own."""
    screen = terminal(200)
    with StatusLine() as line:
        progress = shown(Duration(4, epochs_at_most=2), line)
        progress.on_train_begin()
        progress.on_epoch_begin(0)
        for batch in (2, 3):
            clock.sleep(1)
            progress.on_train_batch_end(batch, TRAINED)
        progress.on_epoch_end(0, {**TRAINED, **VALIDATED})
        progress.on_train_end()
        progress.on_train_begin()
        train(progress, clock, start=(1, 0), pause=0)
    ends = [text for text in screen.screens() if "val loss" in text]
    assert ["  0:04 left" in ends[0], "  took 0:06" in ends[1]] == [True, True]


def test_time_left_includes_known_validations(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Two of the five epochs are validated, which takes 30 s."""
    with StatusLine() as line:
        progress = shown(Duration(10, epochs_at_most=5), line, validated=(3, 5))
        logs = {False: TRAINED, True: {**TRAINED, **VALIDATED}}
        train(progress, clock, pause=30, logs=lambda epoch: logs[epoch + 1 in (3, 5)])
    lines = capsys.readouterr().out.splitlines()
    times = [next(part for part in text.split("  ") if "left" in part or "took" in part) for text in lines]
    assert times == ["0:40 left", "0:30 left", "0:50 left", "0:40 left", "took 1:50"]
    assert ["val" in text for text in lines] == [False, False, True, False, True]


def test_speed_is_that_of_the_last_batches(clock: Clock, terminal: Callable[..., Terminal]) -> None:
    """The first batch, which includes tracing, does not count, nor do batches of more than 30 s ago."""
    screen = terminal(200)
    with StatusLine() as line:
        progress = shown(Duration(1000, epochs_at_most=1), line)
        progress.on_epoch_begin(0)
        for batch, seconds in enumerate([60.0, *[1.0] * 50, *[0.5] * 80]):
            clock.sleep(seconds)
            progress.on_train_batch_end(batch, TRAINED)
    screens = screen.screens()
    assert "images/s" not in screens[1]
    assert "  4.0 images/s  16:38 left" in screens[2]
    assert "  8.0 images/s  7:14 left" in screens[-1]


def test_epochs_of_one_batch(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """The first batch includes tracing, so the speed is known from the second epoch on."""
    with StatusLine() as line:
        train(shown(Duration(1, epochs_at_most=3), line), clock, pause=2.0)
    lines = capsys.readouterr().out.splitlines()
    assert ["4.0 images/s" in text for text in lines] == [False, True, True]
    assert ["left" in text for text in lines] == [False, True, False]
    assert "  0:03 left  " in lines[1]


def test_nonfinite_values(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """NaN is never the best mIoU, and does not hide a later one."""
    logs = [
        {"loss": math.nan, "miou": 0.1, "val_loss": math.inf, "val_miou": math.nan},
        {"loss": 1e30, "miou": math.nan, "val_loss": 0.0, "val_miou": 1e-5},
    ]
    with StatusLine() as line:
        train(shown(Duration(2, epochs_at_most=2), line), clock, logs=lambda epoch: logs[epoch])
    lines = [text.partition("  lr")[0] for text in capsys.readouterr().out.splitlines()]
    assert lines == [
        "epoch 1/2  loss nan  mIoU 0.100  val loss inf  val mIoU nan",
        "epoch 2/2  loss 1.00e+30  mIoU nan  val loss 0.000  val mIoU 1.00e-05 (best)",
    ]


def test_additional_metrics_are_not_in_plain_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    logs = {**TRAINED, "dice": 0.6, "aux_side_loss": 0.3, **VALIDATED, "val_dice": 0.5, "val_aux_side_loss": 0.2}
    with StatusLine() as line:
        train(shown(Duration(2, epochs_at_most=1), line), clock, logs=lambda epoch: logs)
    out = capsys.readouterr().out
    assert out.startswith("epoch 1/1  loss 0.412  mIoU 0.551  val loss 0.500  val mIoU 0.490 (best)  lr ")
    assert "dice" not in out and "aux" not in out


def test_memory_of_a_gpu(clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tfseg.training.progress.peak_gpu_memory", lambda: 3_400_000_000)
    with StatusLine() as line:
        train(shown(Duration(2, epochs_at_most=1), line), clock)
    assert capsys.readouterr().out.endswith("  1.2 GB  GPU 3.4 GB\n")


def test_batches_out_of_order_are_ignored(clock: Clock, terminal: Callable[..., Terminal]) -> None:
    """Keras calls the callback in several threads."""
    screen = terminal(100)
    with StatusLine() as line:
        progress = shown(Duration(10, epochs_at_most=1), line)
        progress.on_epoch_begin(0)
        for batch in (0, 4, 3, 4, 5):
            clock.sleep(1)
            progress.on_train_batch_end(batch, {"loss": float(batch)})
    assert [text.split("  ")[2:4] for text in screen.screens()[1:]] == [
        ["1/10", "loss 0.000"],
        ["5/10", "loss 4.000"],
        ["6/10", "loss 5.000"],
    ]


def test_interruption_ends_the_line(clock: Clock, terminal: Callable[..., Terminal]) -> None:
    """Threads that have not ended print nothing more."""
    screen = terminal(100)
    with pytest.raises(KeyboardInterrupt), StatusLine() as line:
        progress = shown(Duration(10, epochs_at_most=1), line)
        progress.on_epoch_begin(0)
        raise KeyboardInterrupt
    clock.sleep(1)
    progress.on_train_batch_end(0, TRAINED)
    assert screen.getvalue() == "\repoch 1/1  ──────────\n"


def test_no_empty_line_without_progress(terminal: Callable[..., Terminal]) -> None:
    screen = terminal(100)
    with StatusLine():
        pass
    assert screen.getvalue() == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", None, "unknown"])
def test_bar_of_other_encodings(terminal: Callable[..., Terminal], encoding: str) -> None:
    terminal(100, encoding)
    assert [bar(0.0), bar(0.39), bar(1.0)] == ["[..........]", "[###.......]", "[##########]"]


def test_output_that_cannot_be_written_does_not_end_a_training(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        calls = 0

        def write(self, text: str) -> int:
            self.calls += 1
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", out := Broken())
    with StatusLine() as line:
        train(shown(Duration(2, epochs_at_most=3), line), clock)
    assert out.calls == 1
    closed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", closed)
    with StatusLine() as line:
        closed.close()
        train(shown(Duration(2, epochs_at_most=1), line), clock)


def test_steps_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of Keras that call callbacks in other threads also do so with this one."""
    monkeypatch.setattr("keras.src.backend.IS_THREAD_SAFE", True)
    callbacks = CallbackList([shown(Duration(2, epochs_at_most=1), StatusLine())])
    assert callbacks._async_train and callbacks._async_test


def test_progress_of_a_real_training(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.undo()
    length = Duration(batches_per_epoch=8, steps=11)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(keras.optimizers.schedules.PolynomialDecay(0.1, 11, 0.1)), "mse")
    with StatusLine() as line:
        model.fit(
            np.ones((16, 2)),
            np.zeros((16, 1)),
            batch_size=2,
            epochs=length.epochs,
            validation_data=(np.ones((4, 2)), np.zeros((4, 1))),
            callbacks=[End(length), progress := Progress(length, line, batch_size=2, validated=(1, 2))],
            verbose=0,
        )
    lines = capsys.readouterr().out.splitlines()
    assert [text.split("  ")[0] for text in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("  lr 1.0e-01  " in text and " images/s  " in text for text in lines)
    assert progress._batches == 11


def test_peak_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 50e6 < memory.peak_memory() < 1e12
    monkeypatch.setattr("tfseg.training.memory._measured_gpus", lambda: ())
    assert memory.peak_gpu_memory() is None
    peaks = {"GPU:0": 5, "GPU:1": 7}
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda name: {"current": 1, "peak": peaks[name]})
    monkeypatch.setattr("tfseg.training.memory._measured_gpus", lambda: tuple(peaks))
    assert memory.peak_gpu_memory() == 7


def test_gpus_without_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    def info(name: str) -> dict[str, int]:
        if name == "GPU:0":
            raise ValueError("no allocator statistics")
        return {"peak": 1}

    devices = [SimpleNamespace(name=f"/device:GPU:{index}") for index in range(2)]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices)
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", info)
    assert memory._measured_gpus.__wrapped__() == ("GPU:1",)


@pytest.mark.parametrize(
    ("value", "text"),
    [(999.9996, "1000.000"), (1000.0, "1.00e+03"), (0.001, "0.001"), (9.9e-4, "9.90e-04"), (-0.5, "-0.500")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (3599.6, "1:00:00"), (86399, "23:59:59"), (86400, "1 d 0:00:00")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_speeds() -> None:
    assert [short(value) for value in (1234.5, 10.4, 9.96, 0.5)] == ["1234", "10", "10", "0.50"]


def test_part_of_rank_zero_is_kept() -> None:
    assert fitted([Part("epoch 1/2", 0), Part("loss", 1)], 3) == "epoch 1/2"


def test_terminal_shows_a_bar(terminal: Callable[..., Terminal], capsys: pytest.CaptureFixture[str]) -> None:
    assert (verbosity(False), verbosity(True)) == (0, 2)
    image_bar(True)(3)()
    assert capsys.readouterr().out == ""
    screen = terminal(100)
    assert (verbosity(False), verbosity(True)) == (0, 1)
    image_bar(True)(3)()
    assert "1/3" in screen.getvalue()
