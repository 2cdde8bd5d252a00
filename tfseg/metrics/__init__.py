"""Metrics computed from integer confusion matrices."""

from tfseg.metrics.boundary_iou import BoundaryIoU
from tfseg.metrics.scores import per_class, report, scores
from tfseg.metrics.segmentation import SegmentationMetrics
from tfseg.metrics.trimap import TrimapMeanIoU

__all__ = ["BoundaryIoU", "SegmentationMetrics", "TrimapMeanIoU", "per_class", "report", "scores"]
