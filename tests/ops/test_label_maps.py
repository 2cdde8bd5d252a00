"""Label maps as losses and metrics take them: the alias `ignore_class`, and float labels."""

import os
import re
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.processes import ROOT
from tfseg.losses import CrossEntropy, TopKCrossEntropy
from tfseg.metrics import BoundaryIoU, SegmentationMetrics, TrimapMeanIoU
from tfseg.ops.label_maps import NO_LABEL, int32_ids, integer_labels
from tfseg.training import explain

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


@pytest.mark.parametrize("kind", (*LOSSES, *METRICS))
@pytest.mark.parametrize("name", ("ignore_label", "ignore_class"))
@pytest.mark.parametrize("value", ("void", 255.0, True))
def test_ignore_label_must_be_an_integer(kind: type, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^Expected `{name}` to be an integer. Received: {name}={value!r}$"):
        make(kind, **{name: value})


def test_ignore_label_may_be_a_numpy_integer() -> None:
    assert type(CrossEntropy(ignore_label=np.int64(7)).get_config()["ignore_label"]) is int


def test_ignore_class_ignores_pixels() -> None:
    labels = np.array([[[0, 1, 11]]])
    logits = np.random.default_rng(0).normal(size=(1, 1, 3, 3))
    assert float(CrossEntropy(ignore_class=11)(labels, logits)) == float(CrossEntropy(ignore_label=11)(labels, logits))
    metric = SegmentationMetrics(3, ignore_class=11)
    metric.update_state(labels, logits)
    assert metric.matrix().sum() == 2


LABELS = np.array([[[0, 1, 2, 255], [2, 2, 1, 0]]], np.int32)
LOGITS = np.random.default_rng(0).normal(size=(1, 2, 4, 3)).astype(np.float32)
WHOLE = "Labels must be whole numbers from -2**31 + 1 to 2**31 - 1."
FRACTIONS = [0.5, 254.99, -1.25, np.nan, np.inf, 1e20]


def spoiled(value: float) -> np.ndarray:
    """Labels whose first pixel of the second row, of class 2, has another value."""
    labels = LABELS.astype(np.float32)
    labels[0, 1, 0] = value
    return labels


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_float_labels_equal_integer_labels(dtype: str) -> None:
    labels = keras.ops.cast(LABELS, dtype)
    for kind in LOSSES:
        np.testing.assert_array_equal(make(kind)(labels, LOGITS), make(kind)(LABELS, LOGITS))
        np.testing.assert_array_equal(make(kind)(labels[..., None], LOGITS), make(kind)(LABELS, LOGITS))
    for kind in METRICS:
        found, expected = make(kind), make(kind)
        found.update_state(labels, LOGITS)
        expected.update_state(LABELS, LOGITS)
        np.testing.assert_array_equal(found.confusion.numpy(), expected.confusion.numpy())


@pytest.mark.parametrize("resolution", ["image", "scores"])
def test_float_labels_at_another_resolution(resolution: str) -> None:
    labels = np.random.default_rng(1).integers(0, 3, (1, 9, 13))
    loss = CrossEntropy(resolution=resolution, positions={"grid": (8, 0), "align_corners": False})
    np.testing.assert_array_equal(loss(labels.astype(np.float32), LOGITS), loss(labels, LOGITS))


def test_float_labels_in_fit() -> None:
    model = keras.Sequential([keras.Input((2, 4, 3)), keras.layers.Conv2D(3, 1, kernel_initializer="ones")])
    model.compile("sgd", CrossEntropy(), metrics=[SegmentationMetrics(3)])
    found, expected = (
        model.evaluate(LOGITS, labels, verbose=0, return_dict=True)
        for labels in (LABELS[..., None].astype(np.float32), LABELS)
    )
    assert found == expected
    model.fit(LOGITS, LABELS.astype(np.float32), verbose=0)


@pytest.mark.parametrize("kind", (*LOSSES, *METRICS))
@pytest.mark.parametrize("value", FRACTIONS)
def test_float_labels_must_be_whole_numbers(kind: type, value: float) -> None:
    thing = make(kind)
    call = thing if kind in LOSSES else thing.update_state
    for function in (call, tf.function(call)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(f"{WHOLE} Received:")):
            function(spoiled(value), LOGITS)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    ("value", "shown"), [*zip(FRACTIONS, ["0.5", "254.99", "-1.25", "nan", "inf", "1e+20"], strict=True)]
)
def test_message_contains_the_first_value_that_is_not_whole(graph: bool, value: float, shown: str) -> None:
    loss = tf.function(CrossEntropy()) if graph else CrossEntropy()
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        loss(spoiled(value), LOGITS)
    assert str(explain(caught.value)).startswith(f"training stopped: {WHOLE} Received: {shown}. ")


def test_fractions_under_xla() -> None:
    """Losses are NaN, and metrics do not count the pixel."""
    for kind in LOSSES:
        assert np.isnan(tf.function(make(kind), jit_compile=True)(spoiled(0.5), LOGITS))
    labels = tf.function(integer_labels, jit_compile=True)(spoiled(0.5))
    assert labels.numpy()[0, 1].tolist() == [NO_LABEL, 2, 1, 0]
    counts = [
        tf.function(SegmentationMetrics(3).count, jit_compile=True)(each, LOGITS.argmax(-1)).numpy().sum()
        for each in (labels, tf.constant(LABELS))
    ]
    assert counts[0] == counts[1] - 1


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("value", [2**32, 2**40 + 1, -(2**32)])
def test_large_integers_are_no_classes(kind: type, value: int) -> None:
    """Checks labels and predictions whose last 32 bits are a class id."""
    labels = np.array([[[0, value, 1, 255]]], "int64")
    with pytest.raises(tf.errors.InvalidArgumentError, match="Labels must be classes 0 to 2"):
        make(kind).update_state(labels, np.zeros((1, 1, 4), "int32"))
    counts = []
    for ids in (labels, np.where(labels == value, 7, labels)):
        metric = make(kind)
        metric.update_state(np.zeros((1, 1, 4), "int32"), ids)
        counts.append(metric.confusion.numpy().tolist())
    assert counts[0] == counts[1]


@pytest.mark.parametrize("dtype", ["uint32", "uint64", "int64"])
def test_int32_ids(dtype: str) -> None:
    found = int32_ids(np.array([0, 255, 2**32 - 1], dtype))
    assert found.dtype == "int32" and found.numpy().tolist() == [0, 255, 2**31 - 1]


JAX = """
import keras, numpy as np
from tfseg.losses import CrossEntropy, TopKCrossEntropy
from tfseg.metrics import BoundaryIoU, SegmentationMetrics, TrimapMeanIoU

assert keras.backend.backend() == "jax"
labels = np.array([[[0, 1, 2, 255], [2, 2, 1, 0]]], "int32")
logits = np.random.default_rng(0).normal(size=(1, 2, 4, 3)).astype("float32")
fraction = labels.astype("float32")
fraction[0, 1, 0] = 0.5
for kind in (CrossEntropy, TopKCrossEntropy):
    assert kind(ignore_class=255)(labels.astype("float32"), logits) == kind()(labels, logits)
    assert np.isnan(kind()(fraction, logits))
for kind in (BoundaryIoU, SegmentationMetrics, TrimapMeanIoU):
    counts = []
    for each in (labels, labels.astype("float32"), fraction):
        metric = kind(3, ignore_class=255)
        metric.update_state(each, logits)
        counts.append(np.asarray(metric.confusion.value))
    np.testing.assert_array_equal(counts[0], counts[1])
    if kind is SegmentationMetrics:
        assert counts[2].sum() == counts[0].sum() - 1
"""


@pytest.mark.extra
def test_jax() -> None:
    pytest.importorskip("jax")
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", JAX], cwd=ROOT, env=environment, check=True, timeout=300)
