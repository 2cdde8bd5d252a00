"""Small datasets on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfseg.data import Data, Folder
from tfseg.labels import Labels, voc_palette

LABELS = Labels(names=("ground", "disc", "square", "ring"))


@pytest.fixture
def labels() -> Labels:
    """Four classes; the ignore label is 255."""
    return LABELS


@pytest.fixture
def write() -> Callable[..., Path]:
    """Function that writes an array as an image, or as a palette PNG if `palette` is true."""

    def write(path: Path, values: np.ndarray, *, palette: bool = False) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(values.astype(np.uint8), "P" if palette else None)
        if palette:
            image.putpalette(voc_palette().tobytes())
        image.save(path)
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path, write: Callable[..., Path]) -> Path:
    """Five training and three validation pairs of different sizes; the red channel of an image is its number."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 3)):
        for number in range(count):
            size = (20 + number, 30 - number)
            image = rng.integers(0, 256, (*size, 3))
            image[:, :, 0] = number
            write(tmp_path / split / "images" / f"{number}.png", image)
            write(tmp_path / split / "masks" / f"{number}.png", rng.integers(0, 4, size), palette=True)
    return tmp_path


@pytest.fixture
def data(folder: Path) -> Data:
    """The pairs of `folder` in batches of 2."""
    return Data(source=Folder(), root=folder, batch_size=2)
