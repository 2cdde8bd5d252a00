"""SegmentationMetrics against NumPy, published predictions, and Keras."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfseg.metrics import SegmentationMetrics, per_class, report, scores

IGNORE = 255


def by_hand(labels, ids, classes, absent="union"):
    """Computes the metrics class by class from the pixels."""
    kept = labels != IGNORE
    truth, predicted = labels[kept], ids[kept]
    ious, accuracies, weighted, others = [], [], 0.0, []
    for label in range(classes):
        hits = np.sum((truth == label) & (predicted == label))
        union = np.sum((truth == label) | (predicted == label))
        present = np.sum(truth == label)
        if present if absent == "ground_truth" else union:
            ious.append(hits / union)
            found = np.sum(predicted == label)
            others.append(
                (2 * hits / (present + found), hits / found if found else 0, hits / present if present else 0)
            )
        if present:
            accuracies.append(hits / present)
            weighted += present * hits / union
    pixels = max(len(truth), 1)
    return {
        "miou": np.mean(ious) if ious else 0.0,
        "pixel_accuracy": np.sum(truth == predicted) / pixels,
        "mean_accuracy": np.mean(accuracies) if accuracies else 0.0,
        "frequency_weighted_iou": weighted / pixels,
        **dict(zip(("dice", "precision", "recall"), np.mean(others or [(0, 0, 0)], 0), strict=True)),
    }


def assert_equal_metrics(result, expected, rtol=1e-6):
    assert set(result) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(float(result[name]), value, rtol=rtol, err_msg=name)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    classes=st.integers(2, 6),
    ignored=st.floats(0, 1),
    absent=st.sampled_from(["union", "ground_truth"]),
)
def test_equals_the_definitions(seed, classes, ignored, absent):
    """Also with classes that are nowhere, and with the void id among the predictions."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, rng.integers(1, classes + 1), (2, 5, 6))
    labels[rng.random(labels.shape) < ignored] = IGNORE
    ids = rng.integers(0, classes, labels.shape)
    ids[rng.random(labels.shape) < 0.1] = IGNORE
    metric = SegmentationMetrics(classes, absent=absent)
    metric.update_state(labels[:1], ids[:1])
    metric.update_state(labels[1:], ids[1:])
    expected = by_hand(labels, ids, classes, absent)
    assert_equal_metrics(metric.result(), dict(list(expected.items())[:4]))
    assert_equal_metrics(scores(metric.matrix(), absent), expected, rtol=1e-12)


def test_class_ids_logits_and_probabilities_give_equal_counts():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, 4, 5)).astype(np.uint8)
    logits = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    ids = logits.argmax(-1)
    matrices = []
    for y_true, y_pred in [
        (labels, logits),
        (labels, keras.ops.softmax(logits)),
        (labels, keras.ops.cast(logits, "float16")),
        (labels[..., None], ids),
        (labels, ids[..., None]),
        (labels.astype(np.int64), ids.astype(np.uint8)),
    ]:
        metric = SegmentationMetrics(3)
        metric.update_state(y_true, y_pred)
        matrices.append(metric.matrix())
    assert all((matrix == matrices[0]).all() for matrix in matrices)
    expected = np.zeros((3, 4), np.int64)
    np.add.at(expected, (labels.ravel(), ids.ravel()), 1)
    np.testing.assert_array_equal(matrices[0], expected)


def test_counts_are_exact_beyond_2_to_the_31():
    metric = SegmentationMetrics(2)
    before = np.array([[2**31 + 1, 5, 0], [2**40, 2**53 + 1, 0]])
    metric.confusion.assign(before)
    metric.update_state(np.array([[[0, 1, 1]]]), np.array([[[0, 1, IGNORE]]]))
    np.testing.assert_array_equal(metric.matrix(), before + np.array([[1, 0, 0], [0, 1, 1]]))


def test_absent_classes():
    """Class 1 is only in the prediction, class 2 in neither."""
    matrix = np.array([[6, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert scores(matrix)["miou"] == pytest.approx((6 / 8 + 0) / 2)
    assert scores(matrix, "ground_truth")["miou"] == pytest.approx(6 / 8)
    assert per_class(matrix) == (0.75, 0.0, None)
    assert per_class(matrix, "ground_truth") == (0.75, None, None)


def test_without_counted_pixels_all_metrics_are_zero():
    metric = SegmentationMetrics(3)
    metric.update_state(np.full((1, 2, 2), IGNORE), np.zeros((1, 2, 2), int))
    assert {float(value) for value in metric.result().values()} == {0.0}
    assert set(scores(metric.matrix()).values()) == {0.0}
    assert metric.report(["a", "b", "c"])["per_class"] == {"a": None, "b": None, "c": None}


def test_report_is_complete_and_serializable_as_json():
    metric = SegmentationMetrics(2)
    metric.update_state(np.array([[[0, 0, 1, 1, IGNORE]]]), np.array([[[0, 1, 1, IGNORE, 0]]]))
    assert json.loads(json.dumps(metric.report(("road", "car")))) == {
        "miou": pytest.approx((1 / 2 + 1 / 3) / 2),
        "pixel_accuracy": 0.5,
        "mean_accuracy": 0.5,
        "frequency_weighted_iou": pytest.approx((2 * 1 / 2 + 2 * 1 / 3) / 4),
        "dice": pytest.approx((2 / 3 + 1 / 2) / 2),
        "precision": pytest.approx((1 / 1 + 1 / 2) / 2),
        "recall": pytest.approx((1 / 2 + 1 / 2) / 2),
        "per_class": {"road": 0.5, "car": pytest.approx(1 / 3)},
        "confusion": [[1, 1], [0, 1]],
        "unclassified": [0, 1],
    }


def label_maps(folder):
    return {path.stem: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))}


def counted(truth, predictions, classes, ignore):
    """Counts each image as a batch of its own, since sizes differ."""
    metric = SegmentationMetrics(classes, ignore)
    update = tf.function(metric.update_state, reduce_retracing=True)
    for name, prediction in predictions.items():
        update(tf.constant(truth[name][None]), tf.constant(prediction[None]))
    return metric


def test_camvid_espnet_maps(shared):
    predictions = label_maps(shared / "golden" / "camvid_espnet_maps")
    truth = label_maps(shared / "data" / "camvid" / "testannot")
    assert len(predictions) == 233
    metric = counted(truth, predictions, 11, 11)
    assert round(float(metric.result()["miou"]), 4) == 0.5717
    # As in the ESPNet paper: void is a class of ground truth and prediction, and excluded from the mean.
    matrix = np.zeros((12, 12), np.int64)
    for name, prediction in predictions.items():
        np.add.at(matrix, (truth[name].ravel(), prediction.ravel()), 1)
    assert round(float(np.mean(per_class(matrix)[:11])), 4) == 0.5565
    np.testing.assert_array_equal(metric.matrix(), matrix[:11])


@pytest.mark.parametrize(
    ("folder", "union", "ground_truth"), [("res_none", 0.5049, 0.5891), ("res_crf", 0.6237, 0.6583)]
)
def test_deeplab_v1_masks(shared, folder, union, ground_truth):
    golden = shared / "golden" / "deeplab_v1_crf"
    predictions = label_maps(golden / folder)
    assert len(predictions) == 25
    metric = counted(label_maps(golden / "gt"), predictions, 21, 255)
    assert round(float(metric.result()["miou"]), 4) == union
    assert round(scores(metric.matrix(), "ground_truth")["miou"], 4) == ground_truth


def test_in_compile_fit_and_evaluate():
    """Logs have `miou` in training and `val_miou` in validation, and the state is reset between the two."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 3, 4, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (4, 3, 4)).astype(np.int32)
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Activation("linear")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=[SegmentationMetrics(3)])
    data = tf.data.Dataset.from_tensor_slices((logits, labels)).batch(2)
    history = model.fit(data, validation_data=data, epochs=2, shuffle=False, verbose=0).history
    expected = by_hand(labels, logits.argmax(-1), 3)
    for name, value in list(expected.items())[:4]:
        assert history[name] == pytest.approx([value] * 2, rel=1e-6)
        assert history[f"val_{name}"] == pytest.approx([value] * 2, rel=1e-6)


def test_config_round_trip():
    metric = SegmentationMetrics(11, 11, absent="ground_truth", name="camvid")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(metric)))
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, SegmentationMetrics)
    assert again.get_config() == metric.get_config()


def test_labels_out_of_range_raise():
    metric = SegmentationMetrics(3)
    message = "Labels must be classes 0 to 2, or the ignore label 255. Received:"
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(message)):
        metric.update_state(np.array([[[0, 3]]]), np.array([[[0, 1]]]))


ERRORS = [
    (lambda: SegmentationMetrics(0), "`num_classes` must be at least 1. Received: num_classes=0"),
    (
        lambda: SegmentationMetrics(3, absent="skip"),
        '`absent` must be "union" or "ground_truth". Received: absent=\'skip\'',
    ),
    (
        lambda: SegmentationMetrics(3).update_state(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 2), int)),
        "Labels must be integers, or floats that are whole numbers. Received: y_true of dtype bool and shape (1, 2, 2)",
    ),
    (
        lambda: SegmentationMetrics(3).update_state(np.zeros((1, 2, 2), int), np.zeros((1, 2, 2, 4), "f")),
        "Predictions must be integer class ids, or floats of shape [batch, height, width, 3]. Received: y_pred of "
        "dtype float32 and shape (1, 2, 2, 4)",
    ),
    (
        lambda: SegmentationMetrics(3).update_state(np.zeros((1, 2, 2), int), np.zeros((1, 2, 2), int), np.ones(1)),
        "SegmentationMetrics does not support `sample_weight`. Set the labels of pixels to ignore to ignore_label=255 "
        "instead. Received: sample_weight",
    ),
    (
        lambda: scores(np.zeros((2, 4), int)),
        "`matrix` must be of shape [classes, classes], or [classes, classes + 1] with a column of pixels predicted as "
        "none of the classes. Received: matrix of shape (2, 4)",
    ),
    (
        lambda: report(np.zeros((2, 2), int), ["a"]),
        "`names` must have one name per class of the matrix, that is 2. Received: names=('a',)",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_error_messages(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        call()
