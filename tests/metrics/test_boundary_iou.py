"""BoundaryIoU against masks eroded step by step, and masks whose numbers can be counted."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.metrics.test_trimap import VOID, void_as_in_voc
from tfseg.metrics import BoundaryIoU, TrimapMeanIoU


def region(mask: np.ndarray, width: int) -> np.ndarray:
    """A mask without its erosion by a square of side 3, so many times over, zeros lying around the image."""
    eroded = np.pad(mask, 1)
    for _ in range(width):
        eroded[1:-1, 1:-1] = [
            [eroded[row : row + 3, column : column + 3].all() for column in range(mask.shape[1])]
            for row in range(mask.shape[0])
        ]
    return mask & ~eroded[1:-1, 1:-1]


def one_by_one(labels: np.ndarray, ids: np.ndarray, classes: int, ratio: float) -> list[float | None]:
    """The definition, class by class; pixels of void are cut out of both masks."""
    width = max(1, round(ratio * float(np.hypot(*labels.shape[1:]))))
    values: list[float | None] = []
    for label in range(classes):
        intersection = union = 0
        for truth, predicted in zip(labels, ids, strict=True):
            wanted = region(truth == label, width)
            found = region((predicted == label) & (truth != VOID), width)
            intersection, union = intersection + np.sum(wanted & found), union + np.sum(wanted | found)
        values.append(intersection / union if union else None)
    return values


@pytest.mark.parametrize(("seed", "ratio"), [(0, 0.001), (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.9), (5, 0.15)])
def test_equals_the_definition(seed: int, ratio: float) -> None:
    """Also with void among the predictions, and in a graph that does not know the size."""
    random = np.random.default_rng(seed)
    labels = void_as_in_voc(random, (3, 9, 14), 3)
    ids = np.roll(labels, 1, axis=2)
    ids[random.random(ids.shape) < 0.05] = random.integers(0, 4)
    expected = one_by_one(labels, ids, 4, ratio)
    metric, other = BoundaryIoU(4, ratio), BoundaryIoU(4, ratio)
    metric.update_state(labels, ids)
    assert metric.per_class() == tuple(expected)
    spec = tf.TensorSpec((None, None, None), tf.int32)
    update = tf.function(other.update_state, input_signature=[spec, spec])
    for image in range(len(labels)):
        update(tf.constant(labels[image : image + 1]), tf.constant(ids[image : image + 1], tf.int32))
    assert other.per_class() == metric.per_class()
    there = [value for value in expected if value is not None]
    assert metric.report("abcd")["iou"] == pytest.approx(np.mean(there), rel=1e-12)
    assert float(metric.result()["boundary_iou"]) == pytest.approx(np.mean(there), rel=1e-6)


def test_a_mask_that_can_be_counted() -> None:
    """A 6x6 square in 40x30 pixels (d is 1), found one column to the right: frames of 20 pixels share 10."""
    labels, ids = np.zeros((1, 40, 30), int), np.zeros((1, 40, 30), int)
    labels[:, 10:16, 10:16] = 1
    ids[:, 10:16, 11:17] = 1
    metric = BoundaryIoU(3)
    metric.update_state(labels, ids)
    border, around = 2 * 40 + 2 * 28, 8 * 8 - 6 * 6  # of the image, which counts, and just outside the square
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
def test_the_width_rounds_as_the_published_code(size: tuple[int, int], width: int) -> None:
    """Halves (1.5, 2.5 and 3.5 of these diagonals) go to the even neighbor, in a graph of any size as well."""
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


def test_right_wherever_it_counts_is_one() -> None:
    labels = void_as_in_voc(np.random.default_rng(3), (2, 20, 20), 3)
    labels[0, 4:9, 6:] = VOID
    metric = BoundaryIoU(3, 0.1)
    metric.update_state(labels, np.where(labels == VOID, 2, labels))
    assert metric.report("abc")["iou"] == 1


def test_nothing_counted_is_zero() -> None:
    metric = BoundaryIoU(2)
    metric.update_state(np.full((1, 4, 5), VOID), np.zeros((1, 4, 5), int))
    assert metric.report("ab") == {"iou": 0.0, "dilation_ratio": 0.02, "per_class": {"a": None, "b": None}}
    assert float(metric.result()["boundary_iou"]) == 0


def test_deeplab_v1_masks(shared: Path) -> None:
    """What Pillow's filters of 3x3, step by step, and NumPy count on the masks of the authors with their CRF."""
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
    """The width is known when it is compiled, and so are the shapes."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 8, 9, 3)).astype(np.float16)
    labels = random.integers(0, 3, (2, 8, 9)).astype(np.int32)
    model = keras.Sequential([keras.Input((8, 9, 3)), keras.layers.Activation("linear", dtype="mixed_float16")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=[BoundaryIoU(3, 0.2)], jit_compile=True)
    found = model.evaluate(logits, labels, verbose=0, return_dict=True)["boundary_iou"]
    metric = BoundaryIoU(3, 0.2)
    metric.update_state(labels, logits)
    assert found == pytest.approx(metric.report("abc")["iou"], rel=1e-6) and 0 < found < 1


def test_errors() -> None:
    with pytest.raises(ValueError, match=re.escape("`num_classes` must be at least 1. Received: num_classes=0")):
        BoundaryIoU(0)
    words = "`dilation_ratio` is a part of the image's diagonal, between 0 and 1. Received: dilation_ratio=2"
    with pytest.raises(ValueError, match="^" + re.escape(words) + "$"):
        BoundaryIoU(2, 2)
    words = "Labels must be classes 0 to 1, or 255 where a pixel does not count. Received:"
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(words)):
        BoundaryIoU(2).update_state(np.full((1, 2, 2), 2), np.zeros((1, 2, 2), int))
