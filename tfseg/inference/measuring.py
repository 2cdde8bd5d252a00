"""Metrics of a network on a split, updated while the network predicts the next image."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.labels import Labels
from tfseg.metrics import BoundaryIoU, CalibrationError, ImageMeanIoU, SegmentationMetrics, TrimapMeanIoU


class Measurement:
    """Metrics reported by `tfseg.evaluate`.

    Args:
        labels: Labels, the classes.
        calibration: Boolean, whether predictions are probabilities, whose calibration is measured, rather than ids.
    """

    def __init__(self, labels: Labels, *, calibration: bool = False) -> None:
        self.labels = labels
        self.areas = SegmentationMetrics(labels.count, labels.ignore)
        self.contours = BoundaryIoU(labels.count, ignore_label=labels.ignore)
        self.trimap = TrimapMeanIoU(labels.count, ignore_label=labels.ignore)
        self.images = ImageMeanIoU(labels.count, ignore_label=labels.ignore)
        self.calibration: CalibrationError | None = None
        ids = predicted = tf.TensorSpec([1, None, None], tf.int32)
        if calibration:
            self.calibration = CalibrationError(labels.count, ignore_label=labels.ignore, from_logits=False)
            predicted = tf.TensorSpec([1, None, None, labels.count], tf.float32)
        self._count = tf.function(self._counted, [ids, predicted], autograph=False)  # one graph for images of all sizes

    def _counted(self, mask: tf.Tensor, predicted: tf.Tensor) -> None:
        if self.calibration is not None:
            self.calibration.update_state(mask, predicted)
            predicted = tf.argmax(predicted, axis=-1, output_type=tf.int32)
        for metric in (self.areas, self.contours, self.trimap, self.images):
            metric.update_state(mask, predicted)

    def count(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Updates the metrics with pairs of label map and prediction, of any sizes.

        Both are integers `[1, height, width]`; with `calibration`, predictions are `[1, height, width, classes]`.

        The metrics are updated while the next pair is computed. At most two pairs are in memory.
        """
        with ThreadPoolExecutor(1, "count") as pool:
            counted = None
            for mask, predicted in pairs:
                if counted is not None:
                    counted.result()
                dtype = np.int32 if self.calibration is None else np.float32
                counted = pool.submit(self._count, mask.astype(np.int32), predicted.astype(dtype))
            if counted is not None:
                counted.result()

    def report(self) -> dict[str, Any]:
        """Returns the metrics in double precision, as JSON values."""
        names = self.labels.names
        boundary = {**self.contours.report(names), "trimap_miou": self.trimap.report()}
        report = {**self.areas.report(names), "boundary": boundary, "per_image": self.images.report()}
        return report if self.calibration is None else {**report, "calibration": self.calibration.report()}
