"""Small cases of all metrics."""

from tests.checks import MetricCase
from tfseg.metrics import (
    BoundaryIoU,
    CalibrationError,
    DiceCoefficient,
    ImageMeanIoU,
    Precision,
    Recall,
    SegmentationMetrics,
    TrimapMeanIoU,
)

CASES = [
    MetricCase(BoundaryIoU, {"num_classes": 3, "dilation_ratio": 0.3, "ignore_label": 7, "name": "contours"}, ignore=7),
    MetricCase(SegmentationMetrics, {"num_classes": 3, "ignore_label": 7, "absent": "ground_truth"}, ignore=7),
    MetricCase(SegmentationMetrics, {"num_classes": 3, "name": "metrics"}),
    MetricCase(TrimapMeanIoU, {"num_classes": 3, "radii": (1, 3), "ignore_label": 7, "name": "near"}, ignore=7),
    MetricCase(DiceCoefficient, {"num_classes": 3, "ignore_label": 7, "name": "overlap"}, ignore=7),
    MetricCase(Precision, {"num_classes": 3, "ignore_label": 7, "name": "user"}, ignore=7),
    MetricCase(Recall, {"num_classes": 3, "ignore_label": 7, "name": "producer"}, ignore=7),
    MetricCase(ImageMeanIoU, {"num_classes": 3, "percentiles": (10, 90), "ignore_label": 7, "name": "each"}, ignore=7),
    MetricCase(
        CalibrationError, {"num_classes": 3, "bins": 4, "ignore_label": 7, "name": "reliability"}, ignore=7, ids=False
    ),
]
