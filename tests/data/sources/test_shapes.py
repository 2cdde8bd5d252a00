"""Synthetic scenes: reproducibility and variety."""

import hashlib
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfseg.data import Data, Shapes
from tfseg.labels import Labels

SIX = Labels(names=tuple("abcdef"))


def scenes(shapes: Shapes, labels: Labels = SIX, split: str = "train", count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    pairs = Data(source=shapes).open(labels).evaluation(split).take(count).as_numpy_iterator()
    images, masks = zip(*pairs, strict=True)
    return np.concatenate(images), np.concatenate(masks)


def test_scenes_are_bit_identical() -> None:
    """Integer arithmetic is independent of the machine, the number of threads and the version of TensorFlow."""
    images, masks = scenes(Shapes(size=(40, 56), train=8))
    digest = hashlib.sha256(images.tobytes() + masks.astype("<i4").tobytes()).hexdigest()
    assert digest == "63782e85c3f72f4d342c20aec447c9db014830f1a995f7c1053a243c5c4e08f3"


def test_scenes_depend_on_seed_split_and_index_alone() -> None:
    images, masks = scenes(Shapes(size=32, train=8))
    few, _ = scenes(Shapes(size=32, train=3, val=1), count=3)
    np.testing.assert_array_equal(images[:3], few)
    examples = Data(source=Shapes(size=32, train=8)).open(SIX).examples("train")
    for index in (7, 2):
        image, mask, _ = examples.load(tf.constant(index, tf.int64))
        np.testing.assert_array_equal(image, images[index])
        np.testing.assert_array_equal(mask, masks[index])
        np.testing.assert_array_equal(examples.mask(tf.constant(index, tf.int64))[0], masks[index])


def test_scenes_differ_between_indices_splits_and_seeds() -> None:
    images = [*scenes(Shapes(size=32))[0]]
    images += [*scenes(Shapes(size=32), split="val")[0], *scenes(Shapes(size=32), split="test")[0]]
    images += [*scenes(Shapes(size=32, seed=1))[0]]
    assert len({image.tobytes() for image in images}) == 32


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("classes", [2, pytest.param(7, marks=pytest.mark.slow), 40])
@pytest.mark.parametrize("size", [16, (33, 70)])
@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.slow), 5])
def test_sizes_classes_and_channels(classes: int, size: int, channels: int) -> None:
    labels = Labels(names=tuple(map(str, range(classes))))
    images, masks = scenes(Shapes(size=size, channels=channels), labels, count=2)
    sides = (size, size) if isinstance(size, int) else size
    assert images.shape == (2, *sides, channels) and images.dtype == np.uint8
    assert masks.shape == (2, *sides) and masks.dtype == np.int32
    assert masks.min() == 0 and masks.max() < classes


def test_class_frequencies() -> None:
    labels = Labels(names=tuple(map(str, range(12))))
    counts = Data(source=Shapes(size=64, train=200)).open(labels).pixel_counts("train")
    shares = counts.classes / counts.classes.sum()
    assert 0.4 < shares[0] < 0.85
    assert shares[1:].min() > 0.004
    assert counts.images.min() > 40


def test_shapes_occlude_each_other_and_vary_in_size() -> None:
    _, masks = scenes(Shapes(size=96, train=60), count=60)
    touching = sum(
        bool(np.any((mask[:, 1:] != mask[:, :-1]) & (mask[:, 1:] > 0) & (mask[:, :-1] > 0))) for mask in masks
    )
    assert touching > 40
    runs = np.concatenate([_runs(mask) for mask in masks])
    assert np.quantile(runs, 0.1) <= 6 and runs.max() >= 40


def _runs(mask: np.ndarray) -> np.ndarray:
    """Returns the lengths of runs of one class along the rows, without background."""
    lengths = []
    for row in mask:
        edges = np.flatnonzero(np.diff(row, prepend=-1, append=-1))
        lengths += [stop - start for start, stop in itertools.pairwise(edges) if row[start] > 0]
    return np.array(lengths)


def test_textures_distinguish_classes() -> None:
    """Within a shape, brightness varies more for classes with a texture than for the plain class 4."""
    images, masks = scenes(Shapes(size=96, train=60, channels=1), count=60)
    spread = {}
    for identity in range(1, 6):
        chosen = [(image, mask == identity) for image, mask in zip(images, masks, strict=True)]
        spread[identity] = np.mean([image[inside].std() for image, inside in chosen if inside.sum() > 200])
    assert min(spread, key=spread.__getitem__) == 4
