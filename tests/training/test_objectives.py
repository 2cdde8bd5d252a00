"""Class weights against values computed by hand and published ones."""

import re

import numpy as np
import pytest
from PIL import Image

from tests.training import toy
from tfseg.context import Context
from tfseg.losses.class_weights import balanced
from tfseg.training.objectives import CrossEntropy


def test_median_frequency_by_hand():
    pixels, image_pixels = [60, 30, 10, 0], [100, 60, 50, 0]
    # Frequencies are 0.6, 0.5, 0.2, and their median 0.5; the last class is absent.
    assert balanced("median_frequency", pixels, image_pixels) == pytest.approx((0.5 / 0.6, 1.0, 2.5, 0.0))


def test_inverse_frequency_by_hand():
    weights = balanced("inverse_frequency", [60, 30, 10, 0], [100, 60, 50, 0])
    assert weights == pytest.approx((100 / 180, 100 / 90, 100 / 30, 0.0))
    assert np.dot(weights, [60, 30, 10, 0]) == pytest.approx(100)


def test_class_weights_without_pixels_are_zero():
    assert balanced("median_frequency", [0, 0], [0, 0]) == (0.0, 0.0)


def test_camvid_median_frequency(shared):
    """Published weights of the 367 training masks, without void."""
    pixels, image_pixels = np.zeros(11, np.int64), np.zeros(11, np.int64)
    for path in sorted((shared / "data" / "camvid" / "trainannot").glob("*.png")):
        mask = np.asarray(Image.open(path))
        counts = np.bincount(mask.ravel(), minlength=12)[:11]
        pixels += counts
        image_pixels += (counts > 0) * mask.size
    published = [0.279, 0.202, 4.79, 0.149, 1.00, 0.422, 3.85, 1.97, 0.789, 6.37, 8.86]
    np.testing.assert_allclose(balanced("median_frequency", pixels, image_pixels), published, rtol=3e-3)


@pytest.mark.parametrize("balance", ["inverse_frequency", "median_frequency"])
def test_loss_has_computed_class_weights(balance):
    pixels, image_pixels = np.array([60, 30, 10]), np.array([100, 60, 50])
    spec = CrossEntropy(class_weights=balance)
    assert spec(toy.LABELS, lambda: (pixels, image_pixels)).class_weights == balanced(balance, pixels, image_pixels)


def test_loss_has_given_class_weights():
    assert CrossEntropy(class_weights=(1.0, 2.0, 3.0))(toy.LABELS).class_weights == (1.0, 2.0, 3.0)
    assert CrossEntropy()(toy.LABELS).class_weights is None


def test_computed_class_weights_need_counts():
    message = "class_weights='median_frequency' needs `counts`. Received: None"
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        CrossEntropy(class_weights="median_frequency")(toy.LABELS)


def test_number_of_class_weights_is_checked():
    problems = list(CrossEntropy(class_weights=(1.0, 2.0)).problems(Context(toy.LABELS, 3)))
    assert problems == [(("class_weights",), "expected 3 weights, one per class. Received: 2")]
    assert not list(CrossEntropy(class_weights=(1.0, 2.0, 3.0)).problems(Context(toy.LABELS, 3)))
