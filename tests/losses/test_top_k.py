"""TopKCrossEntropy against NumPy."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.losses import CrossEntropy, TopKCrossEntropy


def example(ignored: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (3, 5, 6)).astype(np.int32)
    labels[rng.random(labels.shape) < ignored] = 255
    labels[2] = 255  # an image without labels
    labels[1, 1:] = 255  # and one with fewer than k
    return labels, rng.normal(0, 3, (3, 5, 6, 4)).astype(np.float32)


def by_hand(labels: np.ndarray, logits: np.ndarray, pixels: int) -> float:
    kept = []
    for mask, scores in zip(labels, logits.astype(np.float64), strict=True):
        probabilities = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        losses = [-np.log(probabilities[index][mask[index]]) for index in np.ndindex(mask.shape) if mask[index] != 255]
        kept += sorted(losses)[-pixels:]
    return float(np.mean(kept))


@pytest.mark.parametrize("pixels", [1, 7, 1000])
def test_loss_equals_numpy(pixels: int) -> None:
    labels, logits = example()
    np.testing.assert_allclose(TopKCrossEntropy(pixels)(labels, logits), by_hand(labels, logits, pixels), rtol=1e-5)


def test_loss_over_all_pixels_equals_cross_entropy() -> None:
    labels, logits = example()
    np.testing.assert_allclose(TopKCrossEntropy(1000)(labels, logits), CrossEntropy()(labels, logits), rtol=1e-6)


def test_only_the_hardest_pixels_have_gradients() -> None:
    labels, logits = example()
    scores = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = TopKCrossEntropy(4)(labels, scores)
    selected = np.abs(tape.gradient(loss, scores).numpy()).sum(-1) > 0
    assert selected.sum(axis=(1, 2)).tolist() == [4, min(4, int((labels[1] != 255).sum())), 0]
    losses = np.asarray(keras.ops.sparse_categorical_crossentropy(np.where(labels == 255, 0, labels), logits, True))
    for image in range(2):
        others = ~selected[image] & (labels[image] != 255)
        assert losses[image][selected[image]].min() >= losses[image][others].max(initial=0)


def test_sample_weights_do_not_affect_the_selection() -> None:
    labels, logits = example()
    weights = np.where(labels == 255, 3.0, 2.0).astype(np.float32)
    np.testing.assert_allclose(
        TopKCrossEntropy(4)(labels, logits, weights), TopKCrossEntropy(4)(labels, logits), rtol=1e-6
    )


def test_eager_graph_and_xla_agree() -> None:
    labels, logits = example()
    loss = TopKCrossEntropy(7)
    unknown = [tf.TensorSpec([None, None, None], tf.int32), tf.TensorSpec([None, None, None, 4], tf.float32)]
    np.testing.assert_allclose(
        tf.function(lambda y, x: loss(y, x), input_signature=unknown)(labels, logits), loss(labels, logits), rtol=1e-6
    )
    np.testing.assert_allclose(
        tf.function(lambda y, x: loss(y, x), jit_compile=True)(labels, logits), loss(labels, logits), rtol=1e-6
    )


def test_batch_without_labels_has_loss_zero() -> None:
    labels, logits = example()
    assert float(TopKCrossEntropy(7)(np.full_like(labels, 255), logits)) == 0.0


def test_error_message() -> None:
    with pytest.raises(
        ValueError, match="^" + re.escape("`pixels` must be an integer of at least 1. Received: pixels=0") + "$"
    ):
        TopKCrossEntropy(0)
