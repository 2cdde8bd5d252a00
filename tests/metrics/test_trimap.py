"""TrimapMeanIoU against brute force over all pairs of pixels, and on a small mask counted by hand."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFilter

from tfseg.metrics import TrimapMeanIoU
from tfseg.ops.boundary import near_boundary

VOID = 255
RADII = (1, 2, 4)


def random_masks_with_void(random: np.random.Generator, shape: tuple[int, int, int], classes: int) -> np.ndarray:
    """Returns masks of rectangles, some surrounded by void, some touching; some masks are mostly void."""
    labels = np.zeros(shape, np.int32)
    for image in labels:
        for _ in range(random.integers(0, 5)):
            top, left = random.integers(0, shape[1] - 1), random.integers(0, shape[2] - 1)
            high, wide = random.integers(1, shape[1]), random.integers(1, shape[2])
            image[max(top - 1, 0) : top + high + 1, max(left - 1, 0) : left + wide + 1] = random.choice([VOID, 0, 1])
            image[top : top + high, left : left + wide] = random.integers(0, classes)
    return labels


def by_brute_force(labels: np.ndarray, ids: np.ndarray, classes: int, radii: tuple[int, ...]) -> np.ndarray:
    """Returns, per radius, the confusion matrix of the pixels within that distance of another label."""
    matrices = np.zeros((len(radii), classes, classes + 1), np.int64)
    for truth, predicted in zip(labels, ids, strict=True):
        pixels = list(np.ndindex(truth.shape))
        for row, column in pixels:
            distances = [
                max(abs(row - i), abs(column - j)) for i, j in pixels if truth[i, j] != truth[row, column]
            ] or [np.inf]
            for index, radius in enumerate(radii):
                if truth[row, column] != VOID and min(distances) <= radius:
                    matrices[index, truth[row, column], min(predicted[row, column], classes)] += 1
    return matrices


@pytest.mark.parametrize("seed", range(6))
def test_matrices_equal_brute_force(seed: int) -> None:
    """Includes images smaller than the band, void in predictions, and a graph of dynamic size."""
    random = np.random.default_rng(seed)
    shape = (2, *[(9, 11), (3, 12), (1, 7)][seed % 3])
    labels = random_masks_with_void(random, (shape[0], max(shape[1], 3), shape[2]), 3)[:, : shape[1]]
    ids = np.where(random.random(shape) < 0.2, VOID, random.integers(0, 3, shape))
    metric, other = TrimapMeanIoU(3, RADII), TrimapMeanIoU(3, RADII)
    metric.update_state(labels, ids)
    expected = by_brute_force(labels, ids, 3, RADII)
    np.testing.assert_array_equal(metric.matrices(), expected)
    spec = tf.TensorSpec((None, None, None), tf.int32)
    update = tf.function(other.update_state, input_signature=[spec, spec])
    for image in range(len(labels)):
        update(tf.constant(labels[image : image + 1]), tf.constant(ids[image : image + 1], tf.int32))
    np.testing.assert_array_equal(other.matrices(), expected)


def test_small_mask_counted_by_hand() -> None:
    """The row is `0 0 0 0 void 1 1 1 1`, with an error two pixels to the left of void."""
    labels = np.array([[[0, 0, 0, 0, VOID, 1, 1, 1, 1]]])
    ids = np.array([[[0, 0, 1, 0, 1, 1, 1, 1, 1]]])
    metric = TrimapMeanIoU(2, (1, 2, 4))
    metric.update_state(labels, ids)
    assert metric.report() == {
        "1": 1.0,
        "2": pytest.approx((1 / 2 + 2 / 3) / 2),
        "4": pytest.approx((3 / 4 + 4 / 5) / 2),
    }
    assert {name: float(value) for name, value in metric.result().items()} == {
        f"trimap_miou_{radius}": pytest.approx(value) for radius, value in metric.report().items()
    }


def test_without_a_boundary_no_pixel_is_counted() -> None:
    """An image of one class has no boundary, not even at its border; void is not counted."""
    metric = TrimapMeanIoU(2, (1, 9))
    metric.update_state(np.ones((1, 4, 5), int), np.zeros((1, 4, 5), int))
    metric.update_state(np.full((1, 4, 5), VOID), np.zeros((1, 4, 5), int))
    assert metric.matrices().sum() == 0
    assert metric.report() == {"1": 0.0, "9": 0.0}


def dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    """Dilates a mask by a square with Pillow."""
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * radius + 1))) > 0


def test_bands_are_deeplab_trimaps_and_where_classes_touch(shared: Path) -> None:
    """DeepLab dilates void by a square. In this mask two classes also touch without void in between."""
    file = sorted((shared / "golden" / "deeplab_v1_crf" / "gt").glob("*.png"))[0]
    mask = np.asarray(Image.open(file)).astype(np.int32)
    void, touching = mask == VOID, np.zeros(mask.shape, bool)
    for one, other in [(np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])]:
        touching[one] |= (mask[one] != mask[other]) & ~void[one] & ~void[other]
    for radius, band in zip((1, 5), near_boundary(mask[None], (1, 5)), strict=True):
        near, far, band = dilated(void, radius)[~void], dilated(touching, radius)[~void], np.asarray(band)[0][~void]
        assert np.all(band[near]) and np.all(far[band & ~near])
        assert np.any(band & ~near)


def test_in_compile_and_fit_under_mixed_precision() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(4, 5, 6, 3)).astype(np.float32)
    labels = random.integers(0, 3, (4, 5, 6)).astype(np.int32)
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Activation("linear", dtype="mixed_float16")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=[TrimapMeanIoU(3, (1, 2))])
    logs = model.evaluate(logits, labels, batch_size=2, verbose=0, return_dict=True)
    metric = TrimapMeanIoU(3, (1, 2))
    metric.update_state(labels, logits.astype(np.float16))
    for radius, value in metric.report().items():
        assert logs[f"trimap_miou_{radius}"] == pytest.approx(value, rel=1e-6)


def test_config_round_trip() -> None:
    metric = TrimapMeanIoU(11, (2, 4), 11, name="near")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(metric)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == metric.get_config()


@pytest.mark.parametrize("radii", [(), (0, 1), (2, 2), (3, 1), (1.5,)])
def test_invalid_radii_raise(radii: tuple[float, ...]) -> None:
    message = f"`radii` must be increasing integers, the first at least 1. Received: radii={radii}"
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        TrimapMeanIoU(3, radii)


def test_error_messages() -> None:
    with pytest.raises(ValueError, match=re.escape("`num_classes` must be at least 1. Received: num_classes=0")):
        TrimapMeanIoU(0)
    message = (
        "TrimapMeanIoU does not support `sample_weight`. Set the labels of pixels to ignore to ignore_label=255 "
        "instead. Received: sample_weight"
    )
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        TrimapMeanIoU(2).update_state(np.zeros((1, 2, 2), int), np.zeros((1, 2, 2), int), np.ones(1))
    message = "Labels must be classes 0 to 1, or the ignore label 255. Received:"
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(message)):
        TrimapMeanIoU(2).update_state(np.full((1, 2, 2), 2), np.zeros((1, 2, 2), int))
