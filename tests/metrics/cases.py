"""Small cases of all metrics."""

from tests.checks import MetricCase
from tfseg.metrics import BoundaryIoU, SegmentationMetrics, TrimapMeanIoU

CASES = [
    MetricCase(BoundaryIoU, {"num_classes": 3, "dilation_ratio": 0.3, "ignore_label": 7, "name": "contours"}, ignore=7),
    MetricCase(SegmentationMetrics, {"num_classes": 3, "ignore_label": 7, "absent": "ground_truth"}, ignore=7),
    MetricCase(SegmentationMetrics, {"num_classes": 3, "name": "metrics"}),
    MetricCase(TrimapMeanIoU, {"num_classes": 3, "radii": (1, 3), "ignore_label": 7, "name": "near"}, ignore=7),
]
