"""Expected calibration error against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.metrics import CalibrationError


def example() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, (3, 8, 9))
    labels[rng.random(labels.shape) < 0.2] = 255
    return labels, rng.normal(0, 2, (3, 8, 9, 4)).astype(np.float32)


def by_hand(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> float:
    counted = labels != 255
    confidence, hits = probabilities.max(-1)[counted], (probabilities.argmax(-1) == labels)[counted]
    error = 0.0
    for each in range(bins):
        inside = (confidence > each / bins) & (confidence <= (each + 1) / bins)
        if inside.any():
            error += inside.mean() * abs(hits[inside].mean() - confidence[inside].mean())
    return error


def test_error_equals_numpy_for_logits_and_probabilities() -> None:
    labels, logits = example()
    probabilities = tf.nn.softmax(logits).numpy()
    of_logits, of_probabilities = CalibrationError(4, bins=7), CalibrationError(4, bins=7, from_logits=False)
    for start in (0, 2):
        of_logits.update_state(labels[start : start + 2], logits[start : start + 2])
    of_probabilities.update_state(labels, probabilities)
    expected = by_hand(labels, probabilities.astype(np.float64), 7)
    assert expected > 0.1
    for metric in (of_logits, of_probabilities):
        assert float(metric.result()["calibration_error"]) == pytest.approx(expected, rel=1e-5)
        assert metric.report()["expected_calibration_error"] == pytest.approx(expected, rel=1e-5)


def test_reliability_curve() -> None:
    metric = CalibrationError(2, bins=4, from_logits=False)
    metric.update_state(np.array([[[0, 0, 1, 255]]]), np.array([[[[0.7, 0.3], [0.6, 0.4], [0.9, 0.1], [1, 0]]]]))
    curve = metric.curve()
    assert curve["pixels"].tolist() == [0, 0, 2, 1]
    np.testing.assert_allclose(curve["confidence"], [np.nan, np.nan, 0.65, 0.9], rtol=1e-6)
    np.testing.assert_allclose(curve["accuracy"], [np.nan, np.nan, 1, 0])
    assert metric.report()["accuracy"] == [None, None, 1.0, 0.0]


def test_without_pixels_the_error_is_0() -> None:
    metric = CalibrationError(4)
    assert float(metric.result()["calibration_error"]) == 0
    assert metric.report()["expected_calibration_error"] == 0


def test_class_ids_and_other_numbers_of_channels_raise() -> None:
    labels, logits = example()
    with pytest.raises(ValueError) as caught:
        CalibrationError(4).update_state(labels, labels)
    assert str(caught.value) == (
        "Predictions must be logits or probabilities, floats of shape [batch, height, width, 4]: class ids have no "
        "confidence. Received: y_pred of dtype int64"
    )
    with pytest.raises(ValueError, match=r"Predictions must be integer class ids, or floats of shape \[batch, height"):
        CalibrationError(3).update_state(labels, logits)
    with pytest.raises(ValueError, match=r"`bins` must be an integer of at least 1. Received: bins=0"):
        CalibrationError(4, bins=0)


def test_predictions_that_are_not_numbers_are_not_calibrated() -> None:
    labels, logits = example()
    metric = CalibrationError(4)
    metric.update_state(labels, logits * np.nan)
    assert np.isnan(metric.result()["calibration_error"])


def test_labels_of_another_size_raise() -> None:
    labels, logits = example()
    with pytest.raises(ValueError) as caught:
        CalibrationError(4).update_state(labels[:1], logits)
    assert str(caught.value) == (
        "Labels must be [batch, height, width], and predictions of the same batch size, height and width. Received: "
        "y_true of shape (1, 8, 9), y_pred of shape (3, 8, 9, 4)"
    )
