"""Training metrics of a mixed dataset, whose masks contain the source of each pixel."""

from tfseg.metrics import SegmentationMetrics
from tfseg.ops.label_maps import int32_ids, split_source
from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class MixedMetrics(SegmentationMetrics):
    """Computes `SegmentationMetrics` from labels of `tfseg.ops.label_maps.with_source`, without their sources."""

    def count(self, labels: Tensor, ids: Tensor) -> Tensor:
        """Computes the confusion matrix of a batch."""
        return super().count(split_source(int32_ids(labels))[0], ids)
