"""Losses that leave out the classes that the source of a pixel does not annotate, against NumPy."""

import json
import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.losses import CrossEntropy, TopKCrossEntropy
from tfseg.ops.label_maps import split_source, with_source

ANNOTATED = ((True, True, False, True), (False, True, True, False))
KINDS = [CrossEntropy, lambda **options: TopKCrossEntropy(5, **options)]


def example() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns class ids, some ignored, the source of each pixel, -1 for some without, and logits."""
    rng = np.random.default_rng(0)
    source = rng.integers(-1, 2, (2, 3, 4)).astype(np.int32)
    rows = ((True,) * 4, *ANNOTATED)
    ids = np.array([rng.choice(np.flatnonzero(rows[each + 1])) for each in source.flat], np.int32).reshape(source.shape)
    ids[rng.random(ids.shape) < 0.2] = 255
    return ids, source, rng.normal(0, 3, (2, 3, 4, 4)).astype(np.float32)


def mixed(ids: np.ndarray, source: np.ndarray) -> np.ndarray:
    return np.where(ids == 255, ids, with_source(ids, source))


def by_hand(ids: np.ndarray, source: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the loss of each pixel, 0 if it is ignored, and its gradient, by a softmax over annotated classes."""
    losses, gradients = np.zeros(ids.shape), np.zeros(logits.shape)
    for pixel in np.ndindex(ids.shape):
        if ids[pixel] == 255:
            continue
        classes = [each for each in range(4) if source[pixel] < 0 or ANNOTATED[source[pixel]][each]]
        powers = np.exp(logits[pixel][classes].astype(np.float64))
        for each, power in zip(classes, powers, strict=True):
            gradients[pixel][each] = power / powers.sum() - (each == ids[pixel])
        losses[pixel] = -np.log(powers[classes.index(ids[pixel])] / powers.sum())
    return losses, gradients


def computed(loss: Any, labels: np.ndarray, logits: np.ndarray) -> tuple[float, np.ndarray]:
    scores = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        value = loss(labels, scores)
    return float(value), tape.gradient(value, scores).numpy()


def test_cross_entropy_and_its_gradient_equal_numpy() -> None:
    ids, source, logits = example()
    losses, gradients = by_hand(ids, source, logits)
    for labels in (mixed(ids, source), mixed(ids, source)[..., None], mixed(ids, source).astype(np.float32)):
        value, gradient = computed(CrossEntropy(annotated=ANNOTATED), labels, logits)
        np.testing.assert_allclose(value, losses.sum() / (ids != 255).sum(), rtol=1e-5)
        np.testing.assert_allclose(gradient, gradients / (ids != 255).sum(), rtol=1e-4, atol=1e-7)
        left_out = np.array(((True,) * 4, *ANNOTATED))[source + 1] == 0
        assert left_out.any() and not gradient[left_out].any()


def test_the_hardest_pixels_are_those_of_the_annotated_classes() -> None:
    ids, source, logits = example()
    losses, gradients = by_hand(ids, source, logits)
    value, gradient = computed(TopKCrossEntropy(5, annotated=ANNOTATED), mixed(ids, source), logits)
    flat = losses.reshape(2, -1)
    np.testing.assert_allclose(value, np.sort(flat)[:, -5:].mean(), rtol=1e-5)
    chosen = np.zeros(flat.shape, bool)
    np.put_along_axis(chosen, np.argsort(flat)[:, -5:], True, 1)
    np.testing.assert_allclose(gradient, np.where(chosen.reshape(ids.shape)[..., None], gradients / 10, 0), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_the_plain_ones_if_all_classes_are_annotated(kind: Any) -> None:
    ids, source, logits = example()
    everything = kind(annotated=((True,) * 4,) * 2)
    for labels in (ids, mixed(ids, np.maximum(source, 0))):
        for found, expected in zip(computed(everything, labels, logits), computed(kind(), ids, logits), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_logits(kind: Any) -> None:
    ids, source, logits = example()
    expected = computed(kind(annotated=ANNOTATED), mixed(ids, source), logits)
    value, gradient = computed(kind(annotated=ANNOTATED), mixed(ids, source), logits.astype(np.float16))
    np.testing.assert_allclose(value, expected[0], rtol=5e-3)
    np.testing.assert_allclose(gradient, expected[1], atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_annotated_classes_with_resolutions_and_compilation(kind: Any) -> None:
    """Labels are subsampled with their sources; a batch of ignored pixels has loss 0, and so have its gradients."""
    ids, source, logits = example()
    labels = mixed(ids, source)
    large = np.repeat(np.repeat(labels, 3, 1), 3, 2)[:, 1:-1, 1:-1]
    expected = kind(annotated=ANNOTATED)(labels, logits)
    np.testing.assert_allclose(kind(annotated=ANNOTATED, resolution="scores")(large, logits), expected, rtol=1e-6)
    assert np.isfinite(kind(annotated=ANNOTATED, resolution="image")(large, logits))
    np.testing.assert_allclose(
        tf.function(kind(annotated=ANNOTATED), jit_compile=True)(labels, logits), expected, rtol=1e-5
    )
    value, gradient = computed(kind(annotated=ANNOTATED), np.full_like(ids, 255), logits)
    assert value == 0 and not gradient.any()


def test_class_weights_are_those_of_the_ids() -> None:
    ids, source, logits = example()
    weights = np.array([0.5, 1.0, 2.0, 4.0])
    losses, _ = by_hand(ids, source, logits)
    factors = np.where(ids == 255, 0, weights[np.where(ids == 255, 0, ids)])
    found = CrossEntropy(annotated=ANNOTATED, class_weights=weights.tolist())(mixed(ids, source), logits)
    np.testing.assert_allclose(found, (losses * factors).sum() / factors.sum(), rtol=1e-5)


@pytest.mark.parametrize("wrong", [4, with_source(0, 2), with_source(4, 1), -1, 2**31 - 1])
def test_invalid_ids_and_sources_are_reported(wrong: int) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="Labels must be classes 0 to 3, or the ignore label 255"):
        CrossEntropy(annotated=ANNOTATED)(np.full((1, 1, 1), wrong, np.int64), np.zeros((1, 1, 1, 4), np.float32))


@pytest.mark.parametrize("kind", [CrossEntropy, TopKCrossEntropy])
def test_annotated_classes_are_in_the_config(kind: Any) -> None:
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(kind(annotated=ANNOTATED))))
    assert keras.saving.deserialize_keras_object(config).annotated == ANNOTATED


@pytest.mark.parametrize("annotated", [(), ((True,), (True, False)), ((True, True), (False, False))])
def test_wrong_tables_are_rejected(annotated: Any) -> None:
    message = (
        "`annotated` must have one row per source, each with one boolean per class, at least one of them True. "
        f"Received: annotated={annotated!r}"
    )
    for kind in (CrossEntropy, TopKCrossEntropy):
        with pytest.raises(ValueError, match=re.escape(message)):
            kind(annotated=annotated)


def test_the_number_of_classes_is_checked() -> None:
    with pytest.raises(ValueError, match="`annotated` must have one boolean per class of the logits, that is 3"):
        CrossEntropy(annotated=ANNOTATED)(np.zeros((1, 2, 2), int), np.zeros((1, 2, 2, 3), np.float32))


def test_sources_of_large_ids() -> None:
    ids, source = np.array([0, 65535, 254], np.int32), np.array([0, 127, -1], np.int32)
    for found, expected in zip(split_source(with_source(ids, source)), (ids, source), strict=True):
        np.testing.assert_array_equal(found, expected)
