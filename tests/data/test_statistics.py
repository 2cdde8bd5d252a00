"""Statistics of a dataset."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfseg.data import Data
from tfseg.data.statistics import statistics
from tfseg.labels import Labels


def test_statistics(folder: Path, data: Data, labels: Labels, write: Callable[..., Path]) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[:5], mask[5:7] = 2, 255
    write(folder / "train" / "masks" / "0.png", mask, palette=True)
    stats = statistics(data.open(labels))
    assert list(stats) == ["train", "val"]
    train = stats["train"]
    pairs = [tuple(part[0] for part in pair) for pair in data.open(labels).evaluation("train").as_numpy_iterator()]
    ids = np.concatenate([mask.ravel() for _, mask in pairs])
    pixels = np.concatenate([image.reshape(-1, 3) for image, _ in pairs]) / 255
    assert train["images"] == 5
    assert train["sizes"] == {f"{30 - number}x{20 + number}": 1 for number in range(5)}
    assert list(train["pixels"].values()) == np.bincount(ids, minlength=256)[:4].tolist()
    assert train["images_with"] == {"ground": 5, "disc": 4, "square": 5, "ring": 4}
    assert train["ignored"] == 60
    np.testing.assert_allclose(train["mean"], pixels.mean(0), atol=6e-5)
    np.testing.assert_allclose(train["std"], pixels.std(0), atol=6e-5)
    whole = {name: sum(mask.size for _, mask in pairs if (mask == i).any()) for i, name in enumerate(labels.names)}
    frequency = {name: train["pixels"][name] / whole[name] for name in labels.names}
    median = np.median(list(frequency.values()))
    weights = {name: round(median / value, 4) for name, value in frequency.items()}
    assert train["median_frequency_weights"] == pytest.approx(weights, abs=1e-4)


def test_absent_classes_have_no_weight(data: Data) -> None:
    five = Labels(names=("a", "b", "c", "d", "e"))
    weights = statistics(data.open(five))["val"]["median_frequency_weights"]
    assert list(weights) == ["a", "b", "c", "d"] and np.isfinite(list(weights.values())).all()
