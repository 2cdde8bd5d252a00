"""Metrics computed from integer counts of pixels."""

from tfseg.metrics.boundary_iou import BoundaryIoU
from tfseg.metrics.calibration import CalibrationError
from tfseg.metrics.class_means import DiceCoefficient, Precision, Recall
from tfseg.metrics.image_iou import ImageMeanIoU
from tfseg.metrics.scores import per_class, report, scores
from tfseg.metrics.segmentation import SegmentationMetrics
from tfseg.metrics.trimap import TrimapMeanIoU

__all__ = [
    "BoundaryIoU",
    "CalibrationError",
    "DiceCoefficient",
    "ImageMeanIoU",
    "Precision",
    "Recall",
    "SegmentationMetrics",
    "TrimapMeanIoU",
    "per_class",
    "report",
    "scores",
]
