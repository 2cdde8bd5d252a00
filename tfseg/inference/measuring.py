"""Metrics of a network on a split, updated while the network predicts the next image."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.labels import Labels
from tfseg.metrics import BoundaryIoU, SegmentationMetrics, TrimapMeanIoU


class Measurement:
    """Metrics reported by `tfseg.evaluate`.

    Args:
        labels: Labels, the classes.
    """

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.areas = SegmentationMetrics(labels.count, labels.ignore)
        self.contours = BoundaryIoU(labels.count, ignore_label=labels.ignore)
        self.trimap = TrimapMeanIoU(labels.count, ignore_label=labels.ignore)
        ids = tf.TensorSpec([1, None, None], tf.int32)
        self._count = tf.function(self._counted, [ids, ids], autograph=False)  # one graph for images of all sizes

    def _counted(self, mask: tf.Tensor, predicted: tf.Tensor) -> None:
        for metric in (self.areas, self.contours, self.trimap):
            metric.update_state(mask, predicted)

    def count(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Updates the metrics with pairs of label map and prediction, integers `[1, height, width]`, of any sizes.

        The metrics are updated while the next pair is computed. At most two pairs are in memory.
        """
        with ThreadPoolExecutor(1, "count") as pool:
            counted = None
            for mask, predicted in pairs:
                if counted is not None:
                    counted.result()
                counted = pool.submit(self._count, mask.astype(np.int32), predicted.astype(np.int32))
            if counted is not None:
                counted.result()

    def report(self) -> dict[str, Any]:
        """Returns the metrics in double precision, as JSON values."""
        names = self.labels.names
        boundary = {**self.contours.report(names), "trimap_miou": self.trimap.report()}
        return {**self.areas.report(names), "boundary": boundary}
