"""Metrics from one integer confusion matrix."""

from tfseg.metrics.scores import per_class, report, scores
from tfseg.metrics.segmentation import SegmentationMetrics

__all__ = ["SegmentationMetrics", "per_class", "report", "scores"]
