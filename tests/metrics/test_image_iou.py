"""Mean IoU per image against NumPy."""

import numpy as np
import pytest

from tfseg.metrics import ImageMeanIoU, scores
from tfseg.ops.confusion import confusion_matrix


def example(images: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, (images, 5, 6))
    ids = np.where(rng.random(labels.shape) < rng.random((images, 1, 1)), labels, rng.integers(0, 3, labels.shape))
    labels[3] = 255  # without labeled pixels
    labels[rng.random(labels.shape) < 0.1] = 255
    return labels, ids


def test_mean_and_percentiles_equal_those_of_single_images() -> None:
    labels, ids = example(40)
    metric = ImageMeanIoU(3, percentiles=(5, 50, 90))
    for start in range(0, 40, 7):  # batches of several sizes
        metric.update_state(labels[start : start + 7], ids[start : start + 7])
    single = [
        scores(confusion_matrix(y, p, 3, 255).numpy())["miou"]
        for y, p in zip(labels, ids, strict=True)
        if (y != 255).any()
    ]
    found = metric.report()
    assert found["image_miou"] == pytest.approx(np.mean(single), rel=1e-6)
    for each in (5, 50, 90):
        exact = np.percentile(single, each, method="inverted_cdf")
        assert exact - 1e-6 <= found[f"image_miou_p{each}"] <= exact + 1.01e-4
    assert len(single) == 39


def test_extremes_and_no_images() -> None:
    metric = ImageMeanIoU(2, percentiles=(1, 99))
    assert metric.report() == {"image_miou": 0, "image_miou_p1": 0, "image_miou_p99": 0}
    metric.update_state(np.zeros((2, 3, 3), int), np.stack([np.zeros((3, 3), int), np.ones((3, 3), int)]))
    assert metric.report() == pytest.approx({"image_miou": 0.5, "image_miou_p1": 1e-4, "image_miou_p99": 1})


@pytest.mark.parametrize("percentiles", [(50, 5), (0,), (5, 100), (5, 5)])
def test_percentiles_out_of_range_raise(percentiles: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as caught:
        ImageMeanIoU(2, percentiles=percentiles)
    text = "`percentiles` must be increasing numbers between 0 and 100. Received: percentiles="
    assert str(caught.value) == f"{text}{percentiles}"
