"""Networks of the last epochs, and their average."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training import toy
from tests.training.test_callbacks import Kill, train
from tfseg.errors import RunError
from tfseg.spec.problems import SpecError
from tfseg.training import Training, average_weights
from tfseg.training.averaging import LastCheckpoints
from tfseg.training.files import checkpoints
from tfseg.training.optimizers import AdamW


def networks(count: int) -> list[keras.Model]:
    rng, created = np.random.default_rng(0), [toy.network() for _ in range(count)]
    for model in created:
        model.set_weights([rng.normal(size=weight.shape) * 1e3 for weight in model.weights])
    return created


def test_average_equals_numpy() -> None:
    """Also of the moving statistics of batch normalization; computed in float64, so that many values lose no digits."""
    models = networks(7)
    values = [[weight.numpy().astype(np.float64) for weight in model.weights] for model in models]
    average = average_weights(iter(models))
    for weight, *each in zip(average.weights, *values, strict=True):
        np.testing.assert_array_equal(weight.numpy(), np.mean(each, 0).astype("float32"), err_msg=weight.path)
    assert any("moving_variance" in weight.path for weight in average.weights)


def test_average_of_equal_networks_is_exact() -> None:
    (model,) = networks(1)
    before = model.get_weights()
    for weight, value in zip(average_weights([model] * 3).get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def kernel(path: Path) -> np.ndarray:
    return keras.models.load_model(path).get_layer("score").kernel.numpy()


class Kernels(keras.callbacks.Callback):
    """Callback that records a kernel at the end of every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, np.ndarray] = {}

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.seen[epoch + 1] = self.model.get_layer("score").kernel.numpy()


def test_networks_of_the_last_epochs_are_kept(tmp_path: Path) -> None:
    kernels = Kernels()
    training = Training(epochs=4, average_checkpoints=2, optimizer=AdamW(learning_rate=0.02))
    train(tmp_path / "whole", training, more=[kernels])
    kept = checkpoints(tmp_path / "whole")
    assert list(kept) == [3, 4]
    for epoch, path in kept.items():
        np.testing.assert_array_equal(kernel(path), kernels.seen[epoch])
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", training, more=[Kill(epoch=3)])
    assert list(checkpoints(tmp_path / "parts")) == [2, 3]
    train(tmp_path / "parts", training, resume=True)
    assert list(checkpoints(tmp_path / "parts")) == [3, 4]
    for epoch, path in checkpoints(tmp_path / "parts").items():
        np.testing.assert_array_equal(kernel(path), kernels.seen[epoch])


def test_only_own_files_are_deleted(tmp_path: Path) -> None:
    """Files of later epochs are left by a training that is resumed from an earlier state."""
    (tmp_path / "last.keras").write_bytes(b"now")
    target = tmp_path / "target"
    target.write_bytes(b"of the user")
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("1.keras", "2.keras", "7.keras", "mine.keras", "1.txt"):
        (folder / name).write_bytes(b"old")
    (folder / "6.keras").symlink_to(target)
    LastCheckpoints(tmp_path, 2).on_epoch_end(2)
    assert sorted(path.name for path in folder.iterdir()) == ["1.txt", "2.keras", "3.keras", "mine.keras"]
    assert (folder / "3.keras").read_bytes() == b"now" and target.read_bytes() == b"of the user"


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "last.keras").write_bytes(b"now")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tfseg.training.averaging.shutil.copyfile", full)
    message = f"{tmp_path}/checkpoints/1.keras: could not be written (No space left on device)"
    with pytest.raises(RunError, match=re.escape(message)):
        LastCheckpoints(tmp_path, 2).on_epoch_end(0)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_average_of_one_network_is_rejected() -> None:
    message = (
        "average_checkpoints: expected 0, or at least 2 networks to average. Received: 1. Set it to 0, or to a larger "
        "number"
    )
    with pytest.raises(SpecError, match=re.escape(message)):
        Training(average_checkpoints=1)


def test_folder_that_is_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "last.keras").write_bytes(b"now")
    target = tmp_path / "target"
    target.mkdir()
    (target / "1.keras").write_bytes(b"of the user")
    (tmp_path / "checkpoints").symlink_to(target)
    LastCheckpoints(tmp_path, 1).on_epoch_end(4)
    assert (target / "1.keras").read_bytes() == b"of the user"
    assert list(checkpoints(tmp_path)) == [5]
