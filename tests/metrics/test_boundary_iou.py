"""BoundaryIoU against masks eroded step by step, and on a small mask counted by hand."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.metrics.test_trimap import VOID, random_masks_with_void
from tfseg.metrics import BoundaryIoU, TrimapMeanIoU


def region(mask: np.ndarray, width: int) -> np.ndarray:
    """Returns a mask minus its erosion, `width` iterations with a 3x3 square, on an image padded by zeros."""
    eroded = np.pad(mask, 1)
    for _ in range(width):
        eroded[1:-1, 1:-1] = [
            [eroded[row : row + 3, column : column + 3].all() for column in range(mask.shape[1])]
            for row in range(mask.shape[0])
        ]
    return mask & ~eroded[1:-1, 1:-1]


def by_definition(labels: np.ndarray, ids: np.ndarray, classes: int, ratio: float) -> list[float | None]:
    """Computes the definition class by class; void is removed from both masks."""
    width = max(1, round(ratio * float(np.hypot(*labels.shape[1:]))))
    values: list[float | None] = []
    for label in range(classes):
        intersection = union = 0
        for truth, predicted in zip(labels, ids, strict=True):
            expected = region(truth == label, width)
            received = region((predicted == label) & (truth != VOID), width)
            intersection, union = intersection + np.sum(expected & received), union + np.sum(expected | received)
        values.append(intersection / union if union else None)
    return values


@pytest.mark.parametrize(("seed", "ratio"), [(0, 0.001), (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.9), (5, 0.15)])
def test_values_equal_the_definition(seed: int, ratio: float) -> None:
    """Includes void in predictions, and a graph of dynamic size."""
    random = np.random.default_rng(seed)
    labels = random_masks_with_void(random, (3, 9, 14), 3)
    ids = np.roll(labels, 1, axis=2)
    ids[random.random(ids.shape) < 0.05] = random.integers(0, 4)
    expected = by_definition(labels, ids, 4, ratio)
    metric, other = BoundaryIoU(4, ratio), BoundaryIoU(4, ratio)
    metric.update_state(labels, ids)
    assert metric.per_class() == tuple(expected)
    spec = tf.TensorSpec((None, None, None), tf.int32)
    update = tf.function(other.update_state, input_signature=[spec, spec])
    for image in range(len(labels)):
        update(tf.constant(labels[image : image + 1]), tf.constant(ids[image : image + 1], tf.int32))
    assert other.per_class() == metric.per_class()
    present = [value for value in expected if value is not None]
    assert metric.report("abcd")["iou"] == pytest.approx(np.mean(present), rel=1e-12)
    assert float(metric.result()["boundary_iou"]) == pytest.approx(np.mean(present), rel=1e-6)


def test_small_mask_counted_by_hand() -> None:
    """A 6x6 square in 40x30 pixels (d is 1), predicted one column to the right: frames of 20 pixels share 10."""
    labels, ids = np.zeros((1, 40, 30), int), np.zeros((1, 40, 30), int)
    labels[:, 10:16, 10:16] = 1
    ids[:, 10:16, 11:17] = 1
    metric = BoundaryIoU(3)
    metric.update_state(labels, ids)
    border, around = 2 * 40 + 2 * 28, 8 * 8 - 6 * 6  # of the image, which is a contour, and just outside of the square
    ground = border + around - 14, border + around + 14  # shared: 7 + 7 of the rows above and below
    assert metric.per_class() == (pytest.approx(ground[0] / ground[1]), pytest.approx(10 / 30), None)
    assert metric.report(["ground", "square", "none"]) == {
        "iou": pytest.approx((ground[0] / ground[1] + 10 / 30) / 2),
        "dilation_ratio": 0.02,
        "per_class": {"ground": pytest.approx(ground[0] / ground[1]), "square": pytest.approx(1 / 3), "none": None},
    }


@pytest.mark.parametrize(
    ("size", "width"), [((360, 480), 12), ((45, 60), 2), ((75, 100), 2), ((105, 140), 4), ((1, 1), 1)]
)
def test_width_is_rounded_as_in_the_published_code(size: tuple[int, int], width: int) -> None:
    """Halves (1.5, 2.5 and 3.5 for these diagonals) are rounded to even, also in a graph of dynamic size."""
    labels = np.zeros((1, *size), np.int32)
    counts = []
    metric = BoundaryIoU(1)
    for update in (
        metric.update_state,
        tf.function(metric.update_state, input_signature=2 * [tf.TensorSpec((None, None, None), tf.int32)]),
    ):
        metric.reset_state()
        update(tf.constant(labels), tf.constant(labels))
        counts.append(int(metric.confusion[0, 0]))
    inside = max(size[0] - 2 * width, 0) * max(size[1] - 2 * width, 0)
    assert counts == [size[0] * size[1] - inside] * 2


def test_correct_prediction_with_void_is_one() -> None:
    labels = random_masks_with_void(np.random.default_rng(3), (2, 20, 20), 3)
    labels[0, 4:9, 6:] = VOID
    metric = BoundaryIoU(3, 0.1)
    metric.update_state(labels, np.where(labels == VOID, 2, labels))
    assert metric.report("abc")["iou"] == 1


def test_without_counted_pixels_the_value_is_zero() -> None:
    metric = BoundaryIoU(2)
    metric.update_state(np.full((1, 4, 5), VOID), np.zeros((1, 4, 5), int))
    assert metric.report("ab") == {"iou": 0.0, "dilation_ratio": 0.02, "per_class": {"a": None, "b": None}}
    assert float(metric.result()["boundary_iou"]) == 0


def test_deeplab_v1_masks(shared: Path) -> None:
    """Values computed with iterated 3x3 filters of Pillow and NumPy on the authors' masks with CRF."""
    golden = shared / "golden" / "deeplab_v1_crf"
    contours, trimap = BoundaryIoU(21), TrimapMeanIoU(21, (1, 10))
    for file in sorted((golden / "gt").glob("*.png")):
        for metric in (contours, trimap):
            metric.update_state(
                *(np.asarray(Image.open(each))[None] for each in (file, golden / "res_crf" / file.name))
            )
    assert round(float(contours.result()["boundary_iou"]), 4) == 0.5058
    assert {radius: round(value, 4) for radius, value in trimap.report().items()} == {"1": 0.4663, "10": 0.5673}


def test_compiled_by_xla() -> None:
    """With static shapes the width is known at compile time."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 8, 9, 3)).astype(np.float16)
    labels = random.integers(0, 3, (2, 8, 9)).astype(np.int32)
    model = keras.Sequential([keras.Input((8, 9, 3)), keras.layers.Activation("linear", dtype="mixed_float16")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=[BoundaryIoU(3, 0.2)], jit_compile=True)
    value = model.evaluate(logits, labels, verbose=0, return_dict=True)["boundary_iou"]
    metric = BoundaryIoU(3, 0.2)
    metric.update_state(labels, logits)
    assert value == pytest.approx(metric.report("abc")["iou"], rel=1e-6) and 0 < value < 1


def test_error_messages() -> None:
    with pytest.raises(ValueError, match=re.escape("`num_classes` must be at least 1. Received: num_classes=0")):
        BoundaryIoU(0)
    message = "`dilation_ratio` must be a fraction of the image diagonal, between 0 and 1. Received: dilation_ratio=2"
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        BoundaryIoU(2, 2)
    message = "Labels must be classes 0 to 1, or the ignore label 255. Received:"
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(message)):
        BoundaryIoU(2).update_state(np.full((1, 2, 2), 2), np.zeros((1, 2, 2), int))
