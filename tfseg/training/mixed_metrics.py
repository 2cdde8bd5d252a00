"""Training metrics of a mixed dataset, whose masks contain the source of each pixel."""

from typing import Any

import keras

from tfseg.ops.label_maps import int32_ids, split_source
from tfseg.typing import Tensor


class WithoutSources(keras.metrics.Metric):
    """Computes a metric from labels of `tfseg.ops.label_maps.with_source`, without their sources.

    Args:
        metric: Metric of class ids.
    """

    def __init__(self, metric: keras.metrics.Metric) -> None:
        super().__init__(name=metric.name, dtype="float32")
        self.metric = metric

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Updates the metric with the class ids of a batch."""
        self.metric.update_state(split_source(int32_ids(y_true))[0], y_pred, sample_weight)

    def result(self) -> Any:
        """Computes the metric."""
        return self.metric.result()
