"""CrossEntropy against NumPy, and its ignored pixels."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.losses import CrossEntropy, TopKCrossEntropy

IGNORE = 255


def by_hand(labels, logits, class_weights=None, reduction="mean", sample_weight=None, ignore=IGNORE):
    """Computes the loss pixel by pixel in double precision."""
    total = weight_sum = 0.0
    for index in np.ndindex(labels.shape):
        if labels[index] == ignore:
            continue
        scores = logits[index].astype(np.float64)
        loss = np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[labels[index]]
        weight = 1.0 if class_weights is None else class_weights[labels[index]]
        weight *= 1.0 if sample_weight is None else sample_weight[index]
        total += weight * loss
        weight_sum += weight
    divisor = weight_sum if reduction == "mean" else len(labels)
    return total / divisor if divisor else 0.0


def example(seed=0, shape=(2, 3, 4), classes=5, ignored=0.3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, shape).astype(np.int32)
    labels[rng.random(shape) < ignored] = IGNORE
    return labels, rng.normal(0, 3, (*shape, classes)).astype(np.float32)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("class_weights", [None, (0.5, 1.0, 2.0, 0.0, 3.0)])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_equals_numpy(reduction, class_weights, weighted):
    labels, logits = example()
    weight = np.random.default_rng(1).random(labels.shape).astype(np.float32) if weighted else None
    loss = CrossEntropy(class_weights=class_weights, reduction=reduction)(labels, logits, weight)
    np.testing.assert_allclose(loss, by_hand(labels, logits, class_weights, reduction, weight), rtol=1e-6)


def test_sample_weights_per_image_and_with_channel_axis():
    labels, logits = example()
    images = np.array([1.0, 3.0], np.float32)
    pixels = np.broadcast_to(images[:, None, None], labels.shape)
    expected = by_hand(labels, logits, sample_weight=pixels)
    np.testing.assert_allclose(CrossEntropy()(labels, logits, images), expected, rtol=1e-6)
    np.testing.assert_allclose(CrossEntropy()(labels, logits, pixels[..., None]), expected, rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**16), ignored=st.floats(0, 1), dtype=st.sampled_from(["uint8", "int32", "int64", "uint16"])
)
def test_ignored_pixels_equal_deleted_pixels(seed, ignored, dtype):
    """Loss and gradient are those of the other pixels alone."""
    labels, logits = example(seed, ignored=ignored)
    kept = labels != IGNORE
    with tf.GradientTape() as tape:
        scores = tf.constant(logits)
        tape.watch(scores)
        loss = CrossEntropy()(labels.astype(dtype), scores)
    gradient = tape.gradient(loss, scores).numpy()
    if not kept.any():
        assert float(loss) == 0.0
        assert not gradient.any()
        return
    with tf.GradientTape() as tape:
        scores = tf.constant(logits[kept][None, None])
        tape.watch(scores)
        alone = CrossEntropy()(labels[kept][None, None], scores)
    np.testing.assert_allclose(loss, alone, rtol=1e-5)
    np.testing.assert_allclose(gradient[kept], tape.gradient(alone, scores).numpy()[0, 0], atol=1e-6)
    assert not gradient[~kept].any()


def test_gradients_match_finite_differences():
    labels, logits = example(shape=(1, 2, 2))
    loss = CrossEntropy(class_weights=(0.5, 1.0, 2.0, 1.5, 3.0))
    _, (numeric,) = tf.test.compute_gradient(lambda scores: loss(labels, scores), [logits], delta=1e-2)
    with tf.GradientTape() as tape:
        scores = tf.constant(logits)
        tape.watch(scores)
        value = loss(labels, scores)
    np.testing.assert_allclose(tape.gradient(value, scores).numpy().ravel(), numeric.ravel(), atol=2e-3)
    assert np.abs(numeric).max() > 0.05


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_give_float32_losses(dtype):
    """The sum over a million pixels does not overflow."""
    labels = np.zeros((1, 1024, 1024), np.uint8)
    logits = keras.ops.stack([keras.ops.zeros((1, 1024, 1024)), keras.ops.full((1, 1024, 1024), 60.0)], axis=-1)
    loss = CrossEntropy()(labels, keras.ops.cast(logits, dtype))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    np.testing.assert_allclose(loss, 60.0, rtol=1e-6)


def test_labels_with_channel_axis():
    labels, logits = example()
    np.testing.assert_allclose(CrossEntropy()(labels[..., None], logits), CrossEntropy()(labels, logits))


def test_eager_graph_and_xla_agree():
    labels, logits = example()
    loss = CrossEntropy(class_weights=(0.5, 1.0, 2.0, 1.5, 3.0))
    dynamic = [tf.TensorSpec([None, None, None], tf.int32), tf.TensorSpec([None, None, None, 5], tf.float32)]
    for jit in (False, True):
        compiled = tf.function(lambda y, s: loss(y, s), input_signature=dynamic, jit_compile=jit)
        np.testing.assert_allclose(compiled(labels, logits), loss(labels, logits), rtol=1e-6)


@pytest.mark.parametrize("wrong", [5, 7, -1, 254])
def test_labels_out_of_range_raise(wrong):
    labels, logits = example()
    labels[0, 0, 0] = wrong
    low, high = min(wrong, 0), max(wrong, 4)
    message = "Labels must be classes 0 to 4, or the ignore label 255. Received:"
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(message)) as caught:
        CrossEntropy()(labels, logits)
    assert f"{low}, {high}" in str(caught.value)
    graph = tf.function(lambda y, s: CrossEntropy()(y, s))
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(f"[{message}] [{low} {high}]")):
        graph(labels, logits)
    xla = tf.function(lambda y, s: CrossEntropy()(y, s), jit_compile=True)
    assert np.isnan(xla(labels, logits))


def test_config_and_json_round_trip():
    loss = CrossEntropy(ignore_label=11, class_weights=[1, 2, 3], reduction="sum", name="ce")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, CrossEntropy)
    assert again.get_config() == loss.get_config()
    assert again.class_weights == (1.0, 2.0, 3.0)
    labels, logits = np.array([[[0, 2, 11]]]), np.random.default_rng(0).normal(size=(1, 1, 3, 3))
    np.testing.assert_allclose(again(labels, logits), by_hand(labels, logits, (1, 2, 3), "sum", ignore=11), rtol=1e-6)


def test_in_compile_and_fit():
    model = keras.Sequential([keras.Input((None, None, 5)), keras.layers.Conv2D(5, 1)])
    model.compile("sgd", CrossEntropy())
    labels, logits = example(shape=(4, 3, 4))
    history = model.fit(logits, labels, batch_size=2, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize("kind", [CrossEntropy, TopKCrossEntropy])
def test_from_logits_must_be_true(kind):
    assert kind(from_logits=True).get_config() == kind().get_config()
    message = (
        "`from_logits` must be True: this loss takes logits, not probabilities. Remove the softmax at the end of the "
        "model, and leave `from_logits` out. Received: from_logits=False"
    )
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        kind(from_logits=False)


ERRORS = [
    (
        lambda: CrossEntropy(reduction="none"),
        '`reduction` must be "mean" or "sum". Received: reduction=\'none\'',
    ),
    (
        lambda: CrossEntropy(class_weights=[1.0, -1.0]),
        "`class_weights` must be a nonempty list of numbers >= 0. Received: class_weights=[1.0, -1.0]",
    ),
    (
        lambda: CrossEntropy(class_weights=[1, 2])(np.zeros((1, 2, 2), int), np.zeros((1, 2, 2, 3))),
        "`class_weights` must have one weight per class of the logits, that is 3. Received: class_weights=(1.0, 2.0)",
    ),
    (
        lambda: CrossEntropy()(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 2, 3))),
        "Labels must be integers, or floats that are whole numbers. Received: y_true of dtype bool and shape (1, 2, 2)",
    ),
    (
        lambda: CrossEntropy()(np.zeros((1, 2, 3), int), np.zeros((1, 2, 2, 3))),
        "Labels must be [batch, height, width] and logits [batch, height, width, classes], of the same height and "
        "width. Received: y_true of shape (1, 2, 3), y_pred of shape (1, 2, 2, 3)",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_error_messages(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        call()
