"""Additional metrics of pipeline files."""

from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg import metrics
from tfseg.labels import Labels
from tfseg.metrics.image_iou import PERCENTILES
from tfseg.metrics.trimap import RADII
from tfseg.spec.declare import spec
from tfseg.spec.problems import InvalidFields
from tfseg.training.contracts import MetricSpec


@spec
class DiceCoefficient(MetricSpec):
    """Mean Dice coefficient of the classes, over all pixels."""

    type: Literal["dice"] = "dice"

    def __call__(self, labels: Labels) -> keras.metrics.Metric:
        return metrics.DiceCoefficient(labels.count, labels.ignore)


@spec
class Precision(MetricSpec):
    """Mean precision of the classes, over all pixels."""

    type: Literal["precision"] = "precision"

    def __call__(self, labels: Labels) -> keras.metrics.Metric:
        return metrics.Precision(labels.count, labels.ignore)


@spec
class Recall(MetricSpec):
    """Mean recall of the classes, over all pixels."""

    type: Literal["recall"] = "recall"

    def __call__(self, labels: Labels) -> keras.metrics.Metric:
        return metrics.Recall(labels.count, labels.ignore)


@spec
class ImageMeanIoU(MetricSpec):
    """Mean IoU of each image: mean and percentiles over the images."""

    type: Literal["image_miou"] = "image_miou"
    percentiles: tuple[Annotated[float, Field(gt=0, lt=100)], ...] = PERCENTILES
    """Percentiles, in ascending order."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if list(self.percentiles) != sorted(set(self.percentiles)):
            received = ", ".join(f"{each:g}" for each in self.percentiles)
            raise InvalidFields((("percentiles",), f"expected numbers in ascending order; received {received}"))
        return self

    def __call__(self, labels: Labels) -> keras.metrics.Metric:
        return metrics.ImageMeanIoU(labels.count, self.percentiles, labels.ignore)


@spec
class CalibrationError(MetricSpec):
    """Expected calibration error: difference of confidence and accuracy (Guo et al. 2017, equation 3)."""

    type: Literal["calibration_error"] = "calibration_error"
    bins: Annotated[int, Field(ge=1)] = 15
    """Number of bins of the confidence."""

    def __call__(self, labels: Labels) -> keras.metrics.Metric:
        return metrics.CalibrationError(labels.count, self.bins, labels.ignore)


@spec
class BoundaryIoU(MetricSpec):
    """Mean IoU of the pixels near the boundaries of label and prediction (Cheng et al. 2021)."""

    type: Literal["boundary_iou"] = "boundary_iou"
    dilation_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Width of the boundary region as a fraction of the image diagonal."""

    def __call__(self, labels: Labels) -> keras.metrics.Metric:
        return metrics.BoundaryIoU(labels.count, self.dilation_ratio, labels.ignore)


@spec
class TrimapMeanIoU(MetricSpec):
    """Mean IoU in bands around the boundaries of the label (Chen et al. 2015, section 5)."""

    type: Literal["trimap_miou"] = "trimap_miou"
    radii: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = RADII
    """Widths of the bands in pixels, in ascending order."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if list(self.radii) != sorted(set(self.radii)):
            received = ", ".join(map(str, self.radii))
            raise InvalidFields((("radii",), f"expected integers in ascending order; received {received}"))
        return self

    def __call__(self, labels: Labels) -> keras.metrics.Metric:
        return metrics.TrimapMeanIoU(labels.count, self.radii, labels.ignore)


Metrics = DiceCoefficient | Precision | Recall | ImageMeanIoU | CalibrationError | BoundaryIoU | TrimapMeanIoU
