"""Class weights against hand computation and the published counts."""

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
    # frequencies 0.6, 0.5, 0.2; their median is 0.5; the last class never occurs
    assert balanced("median_frequency", pixels, image_pixels) == pytest.approx((0.5 / 0.6, 1.0, 2.5, 0.0))


def test_inverse_frequency_by_hand():
    weights = balanced("inverse_frequency", [60, 30, 10, 0], [100, 60, 50, 0])
    assert weights == pytest.approx((100 / 180, 100 / 90, 100 / 30, 0.0))
    assert np.dot(weights, [60, 30, 10, 0]) == pytest.approx(100)


def test_no_pixel_at_all():
    assert balanced("median_frequency", [0, 0], [0, 0]) == (0.0, 0.0)


def test_camvid_median_frequency(shared):
    """The weights that follow from the counts of its 367 training masks, void not counted as a class."""
    pixels, image_pixels = np.zeros(11, np.int64), np.zeros(11, np.int64)
    for path in sorted((shared / "data" / "camvid" / "trainannot").glob("*.png")):
        mask = np.asarray(Image.open(path))
        counts = np.bincount(mask.ravel(), minlength=12)[:11]
        pixels += counts
        image_pixels += (counts > 0) * mask.size
    published = [0.279, 0.202, 4.79, 0.149, 1.00, 0.422, 3.85, 1.97, 0.789, 6.37, 8.86]
    np.testing.assert_allclose(balanced("median_frequency", pixels, image_pixels), published, rtol=3e-3)


@pytest.mark.parametrize("balance", ["inverse_frequency", "median_frequency"])
def test_the_loss_has_the_weights(balance):
    pixels, image_pixels = np.array([60, 30, 10]), np.array([100, 60, 50])
    spec = CrossEntropy(class_weights=balance)
    assert spec(toy.LABELS, lambda: (pixels, image_pixels)).class_weights == balanced(balance, pixels, image_pixels)


def test_given_weights_and_none():
    assert CrossEntropy(class_weights=(1.0, 2.0, 3.0))(toy.LABELS).class_weights == (1.0, 2.0, 3.0)
    assert CrossEntropy()(toy.LABELS).class_weights is None


def test_counts_must_be_given():
    words = "class_weights='median_frequency' needs `counts`. Received: None"
    with pytest.raises(ValueError, match="^" + re.escape(words) + "$"):
        CrossEntropy(class_weights="median_frequency")(toy.LABELS)


def test_problems():
    problems = list(CrossEntropy(class_weights=(1.0, 2.0)).problems(Context(toy.LABELS, 3)))
    assert problems == [(("class_weights",), "must be 3 weights, one for each class. Received: 2")]
    assert not list(CrossEntropy(class_weights=(1.0, 2.0, 3.0)).problems(Context(toy.LABELS, 3)))
