"""Arguments that losses and metrics of label maps share."""

import re
from typing import Any

import numpy as np
import pytest

from tfseg.losses import CrossEntropy, TopKCrossEntropy
from tfseg.metrics import BoundaryIoU, SegmentationMetrics, TrimapMeanIoU

LOSSES = (CrossEntropy, TopKCrossEntropy)
METRICS = (BoundaryIoU, SegmentationMetrics, TrimapMeanIoU)


def make(kind: type, **arguments: Any) -> Any:
    return kind(**({"num_classes": 3} if kind in METRICS else {}), **arguments)


@pytest.mark.parametrize("kind", (*LOSSES, *METRICS))
def test_ignore_class_is_an_alias_of_ignore_label(kind: type) -> None:
    assert make(kind).ignore_label == 255
    for given in ({"ignore_label": 0}, {"ignore_class": 0}, {"ignore_label": 0, "ignore_class": 0}):
        config = make(kind, **given).get_config()
        assert config["ignore_label"] == 0 and "ignore_class" not in config
        assert kind.from_config(config).ignore_label == 0


@pytest.mark.parametrize("kind", (*LOSSES, *METRICS))
def test_ignore_class_must_equal_ignore_label(kind: type) -> None:
    message = (
        "`ignore_class` is an alias of `ignore_label`, and the two must be equal if both are given. "
        "Received: ignore_label=255, ignore_class=11"
    )
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        make(kind, ignore_label=255, ignore_class=11)


def test_ignore_class_ignores_pixels() -> None:
    labels = np.array([[[0, 1, 11]]])
    logits = np.random.default_rng(0).normal(size=(1, 1, 3, 3))
    assert float(CrossEntropy(ignore_class=11)(labels, logits)) == float(CrossEntropy(ignore_label=11)(labels, logits))
    metric = SegmentationMetrics(3, ignore_class=11)
    metric.update_state(labels, logits)
    assert metric.matrix().sum() == 2
