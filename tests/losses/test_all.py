"""Properties of all losses: values and gradients against NumPy, and independence of ignored pixels."""

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.losses.reference import reference
from tfseg import losses

WEIGHTS = (0.5, 1.0, 2.0, 0.25)
LOSSES: dict[str, Any] = {
    "cross_entropy": losses.CrossEntropy,
    "summed": functools.partial(losses.CrossEntropy, reduction="sum"),
    "smoothed": functools.partial(losses.CrossEntropy, label_smoothing=0.2),
    "top_k": functools.partial(losses.TopKCrossEntropy, 7),
    "focal": losses.Focal,
    "focal, gamma 0.5": functools.partial(losses.Focal, 0.5),
    "ohem": losses.OhemCrossEntropy,
    "ohem, few": functools.partial(losses.OhemCrossEntropy, 0.1, 0.3),
    "dice": losses.Dice,
    "dice of the batch": functools.partial(losses.Dice, "batch"),
    "tversky": losses.Tversky,
    "tversky of the batch": functools.partial(losses.Tversky, 0.2, 0.9, "batch"),
    "lovasz": losses.LovaszSoftmax,
    "boundary": functools.partial(losses.Boundary, 4),
    "boundary map": functools.partial(losses.BoundaryCrossEntropy, 1),
}
CLASS_LOSSES = {name: loss for name, loss in LOSSES.items() if name != "boundary map"}
every = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
every_of_classes = pytest.mark.parametrize("make", CLASS_LOSSES.values(), ids=CLASS_LOSSES)


def example(
    loss: Any, seed: int = 0, shape: tuple[int, ...] = (3, 7, 9), classes: int = 4, ignored: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    """Draws label maps of rectangles, without the last class in the first image, and logits."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, (shape[0], -(-shape[1] // 3), -(-shape[2] // 2)))
    labels = np.repeat(np.repeat(blocks, 3, 1), 2, 2)[:, : shape[1], : shape[2]].astype(np.int32)
    labels[0][labels[0] == classes - 1] = 0
    labels[rng.random(shape) < ignored] = loss.ignore_label
    channels = 1 if isinstance(loss, losses.BoundaryCrossEntropy) else classes
    return labels, rng.normal(0, 2, (*shape, channels)).astype(np.float32)


def computed(loss: Any, labels: Any, logits: Any, sample_weight: Any = None) -> tuple[float, np.ndarray]:
    """Returns the value and the gradient with respect to the logits."""
    scores = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        value = loss(labels, scores, sample_weight)
    return float(value), tape.gradient(value, scores).numpy()


@every
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("ignore", [255, -1, 11])
def test_value_equals_numpy(make: Any, seed: int, ignore: int) -> None:
    loss = make(ignore_label=ignore)
    labels, logits = example(loss, seed)
    assert float(loss(labels, logits)) == pytest.approx(reference(loss, labels, logits), rel=2e-6)


@every_of_classes
def test_value_with_class_weights_equals_numpy(make: Any) -> None:
    loss = make(class_weights=WEIGHTS)
    labels, logits = example(loss)
    value = float(loss(labels, logits))
    assert value == pytest.approx(reference(loss, labels, logits), rel=2e-6)
    assert value != pytest.approx(float(make()(labels, logits)), rel=1e-3)


@every
def test_value_with_sample_weights_equals_numpy(make: Any) -> None:
    loss = make()
    labels, logits = example(loss)
    images = np.array([1.0, 0.0, 2.5], np.float32)
    assert float(loss(labels, logits, images)) == pytest.approx(reference(loss, labels, logits, images), rel=2e-6)
    if isinstance(loss, losses.LovaszSoftmax):
        return
    pixels = np.random.default_rng(2).random(labels.shape).astype(np.float32)
    assert float(loss(labels, logits, pixels)) == pytest.approx(reference(loss, labels, logits, pixels), rel=5e-6)


@every
def test_gradient_equals_finite_differences_in_double_precision(make: Any) -> None:
    """The differences are those of the NumPy implementation: float32 values are too coarse for a step of 1e-6."""
    loss = make() if isinstance(make(), losses.BoundaryCrossEntropy) else make(class_weights=WEIGHTS)
    labels, logits = example(loss, shape=(2, 4, 5))
    _, gradient = computed(loss, labels, logits)
    precise, step = logits.astype(np.float64), 1e-6
    for index in np.ndindex(*logits.shape):
        moved = [precise.copy(), precise.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        numeric = (reference(loss, labels, moved[0]) - reference(loss, labels, moved[1])) / (2 * step)
        assert gradient[index] == pytest.approx(numeric, abs=2e-6), index
    assert np.abs(gradient).max() > 1e-3


@every
def test_ignored_pixels_equal_deleted_pixels(make: Any) -> None:
    """Value and gradient are those of images without the last rows and columns, which are ignored."""
    loss = make()
    labels, logits = example(loss, ignored=0.1)
    labels[:, 5:], labels[:, :, 6:] = loss.ignore_label, loss.ignore_label
    value, gradient = computed(loss, labels, logits)
    alone, expected = computed(loss, labels[:, :5, :6], logits[:, :5, :6])
    assert value == pytest.approx(alone, rel=1e-6)
    np.testing.assert_allclose(gradient[:, :5, :6], expected, atol=1e-7)
    assert not gradient[labels == loss.ignore_label].any()


@every
def test_scattered_ignored_pixels_have_no_effect(make: Any) -> None:
    """Logits of ignored pixels may be anything but NaN."""
    loss = make()
    labels, logits = example(loss)
    value, gradient = computed(loss, labels, logits)
    other = np.where((labels == loss.ignore_label)[..., None], 60_000.0, logits).astype(np.float32)
    assert computed(loss, labels, other)[0] == value
    np.testing.assert_array_equal(computed(loss, labels, other)[1], gradient)


@every
def test_a_batch_without_labeled_pixels_is_zero(make: Any) -> None:
    loss = make()
    labels, logits = example(loss)
    value, gradient = computed(loss, np.full_like(labels, loss.ignore_label), logits)
    assert value == 0
    assert not gradient.any()


@every
def test_an_image_without_labeled_pixels_has_no_effect(make: Any) -> None:
    loss = make()
    labels, logits = example(loss)
    labels[1] = loss.ignore_label
    value, gradient = computed(loss, labels, logits)
    alone, expected = computed(loss, labels[[0, 2]], logits[[0, 2]])
    factor = 2 / 3 if getattr(loss, "reduction", "mean") == "sum" else 1  # a mean over images of any kind
    assert value == pytest.approx(factor * alone, rel=1e-6)
    np.testing.assert_allclose(gradient[[0, 2]], factor * expected, atol=1e-7)
    assert not gradient[1].any()


@every
def test_one_labeled_pixel(make: Any) -> None:
    loss = make()
    labels, logits = example(loss)
    labels[:] = loss.ignore_label
    labels[1, 2, 3] = 2
    value, gradient = computed(loss, labels, logits)
    assert value == pytest.approx(reference(loss, labels, logits), rel=1e-5, abs=1e-7)
    assert np.isfinite(gradient).all()
    assert not np.delete(gradient.reshape(-1, logits.shape[-1]), 1 * 63 + 2 * 9 + 3, 0).any()


@every
def test_logits_of_60_000_in_float16(make: Any) -> None:
    loss = make()
    labels, logits = example(loss)
    large = np.where(logits > 0, 60_000, -60_000).astype(np.float16)
    scores = tf.constant(large)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        value = loss(labels, scores)
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(reference(loss, labels, large), rel=1e-5)
    gradient = tape.gradient(value, scores)
    assert gradient.dtype == tf.float16
    assert np.isfinite(gradient.numpy()).all()


@pytest.mark.slow
@every_of_classes
def test_150_classes(make: Any) -> None:
    loss = make()
    labels, logits = example(loss, classes=150)
    value, gradient = computed(loss, labels, logits)
    assert value == pytest.approx(reference(loss, labels, logits), rel=5e-6)
    assert np.isfinite(gradient).all()


@every_of_classes
def test_a_perfect_prediction_has_the_smallest_loss(make: Any) -> None:
    """It is 0, unless the labels are smoothed."""
    loss = make()
    labels, logits = example(loss)
    perfect = 50.0 * np.eye(4, dtype=np.float32)[np.where(labels == loss.ignore_label, 0, labels)]
    if not getattr(loss, "label_smoothing", 0):
        assert float(loss(labels, perfect)) == pytest.approx(0, abs=1e-6)
        assert float(loss(labels, logits)) > 0.01


@pytest.mark.slow
@every
def test_graph_of_dynamic_shapes_and_xla_of_static_ones(make: Any) -> None:
    loss = make()
    labels, logits = example(loss)
    expected, gradient = computed(loss, labels, logits)

    def both(y: Any, z: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(y, z)
        return value, tape.gradient(value, z)

    dynamic = [tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([None, None, None, logits.shape[-1]], tf.float32)]
    for function in (tf.function(both, input_signature=dynamic), tf.function(both, jit_compile=True)):
        value, found = function(tf.constant(labels), tf.constant(logits))
        assert float(value) == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(found, gradient, atol=1e-6)


@every
def test_labels_at_the_resolution_of_the_scores(make: Any) -> None:
    loss = make(resolution="scores")
    labels, logits = example(loss, shape=(2, 5, 5))
    large = np.full((2, 9, 9), loss.ignore_label, np.int32)
    large[:, ::2, ::2] = labels
    assert float(loss(large, logits)) == pytest.approx(float(make()(labels, logits)), rel=1e-6)


@every
def test_label_out_of_range_raises_and_is_nan_without_checks(make: Any) -> None:
    loss = make(num_classes=4) if isinstance(make(), losses.BoundaryCrossEntropy) else make()
    labels, logits = example(loss)
    labels[0, 0, 0] = 4
    message = "Labels must be classes 0 to 3, or the ignore label 255. Received:"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loss(labels, logits)
    assert np.isnan(tf.function(loss, jit_compile=True)(labels, logits))


@every
def test_shapes_that_do_not_match_raise(make: Any) -> None:
    loss = make()
    labels, logits = example(loss)
    message = r"Labels must be \[batch, height, width\] and logits \[batch, height, width, classes\], of the same"
    with pytest.raises(ValueError, match=message):
        loss(labels[:, 1:], logits)
    with pytest.raises(ValueError, match="Labels must be integers, or floats that are whole numbers"):
        loss(labels != 0, logits)


@every_of_classes
def test_number_of_class_weights_must_be_that_of_the_classes(make: Any) -> None:
    loss = make(class_weights=(1.0, 2.0))
    labels, logits = example(loss)
    message = "`class_weights` must have one weight per class of the logits, that is 4. Received: class_weights="
    with pytest.raises(ValueError, match=message):
        loss(labels, logits)


@every
def test_in_compile_and_fit(make: Any) -> None:
    loss = make()
    labels, logits = example(loss)
    model = keras.Sequential([keras.Input((None, None, logits.shape[-1])), keras.layers.Conv2D(logits.shape[-1], 1)])
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=loss)
    history = model.fit(logits, labels, batch_size=3, epochs=3, verbose=0).history["loss"]
    assert history[2] < history[0]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: losses.CrossEntropy(label_smoothing=1.5),
            "`label_smoothing` must be from 0 to 1. Received: label_smoothing=1.5",
        ),
        (lambda: losses.Focal(-1), "`gamma` must be at least 0. Received: gamma=-1"),
        (lambda: losses.OhemCrossEntropy(threshold=2), "`threshold` must be from 0 to 1. Received: threshold=2"),
        (lambda: losses.OhemCrossEntropy(min_kept=-0.1), "`min_kept` must be from 0 to 1. Received: min_kept=-0.1"),
        (lambda: losses.Tversky(beta=0), "`alpha` must be at least 0, and `beta` more than 0. Received: alpha=0.3, b"),
        (lambda: losses.Dice(over="pixel"), '`over` must be "image" or "batch". Received: over=\'pixel\''),
        (lambda: losses.Boundary(0), "`max_distance` must be an integer from 1 to 255. Received: max_distance=0"),
        (lambda: losses.BoundaryCrossEntropy(0), "`radius` must be an integer of at least 1. Received: radius=0"),
        (
            lambda: losses.BoundaryCrossEntropy(class_weights=(1.0,)),
            "`class_weights` has no effect on the boundaries of all classes; leave it out. Received: class_weights=",
        ),
        (
            lambda: losses.BoundaryCrossEntropy()(np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 3))),
            "Logits of boundaries must be [batch, height, width, 1]. Received: y_pred of shape (1, 2, 2, 3)",
        ),
        (
            lambda: losses.LovaszSoftmax()(np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 3)), np.ones((1, 2, 2))),
            "`sample_weight` must have one weight per image, since this loss is not a sum over pixels. Received: "
            "sample_weight of shape (1, 2, 2)",
        ),
        (
            lambda: losses.WeightedSum([]),
            "`losses` must be a nonempty list of keras.losses.Loss, and `weights` one number >= 0 per loss. "
            "Received: losses=[], weights=[]",
        ),
        (
            lambda: losses.Dice(class_weights={0: 1.0}),
            "`class_weights` must be a nonempty list of numbers >= 0. Received: class_weights={0: 1.0}",
        ),
        (
            lambda: losses.Focal(class_weights=[1.0, float("nan")]),
            "`class_weights` must be a nonempty list of numbers >= 0. Received: class_weights=[1.0, nan]",
        ),
        (lambda: losses.TopKCrossEntropy(2.5), "`pixels` must be an integer of at least 1. Received: pixels=2.5"),
        (
            lambda: losses.Dice()(np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 3)), np.ones(4)),
            "`sample_weight` must have one weight per image, [batch], or per pixel, [1, 2, 2]. Received: "
            "sample_weight of shape (4,)",
        ),
    ],
)
def test_invalid_arguments(make: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        make()
    assert text in str(caught.value)


@every
def test_an_empty_batch(make: Any) -> None:
    """Devices may have no image of an incomplete batch."""
    loss = make()
    labels, logits = example(loss)
    shapes = [tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([None, None, None, logits.shape[-1]], tf.float32)]
    for function in (loss, tf.function(loss, input_signature=shapes)):
        assert float(function(tf.constant(labels[:0]), tf.constant(logits[:0]))) == 0


def test_fill_beyond_the_image_does_not_wrap_around() -> None:
    loss = losses.Dice(ignore_label=256, resolution="scores", positions={"grid": (16, 0), "align_corners": False})
    labels = np.arange(81).reshape(1, 9, 9) % 3
    logits = np.random.default_rng(0).normal(size=(1, 4, 4, 3)).astype(np.float32)
    assert float(loss(labels.astype(np.uint8), logits)) == float(loss(labels.astype(np.int32), logits))


def test_boundaries_of_labels_with_sources() -> None:
    loss = losses.BoundaryCrossEntropy(1, 4, ignore_label=-1)
    labels, logits = example(loss)
    mixed = np.where(labels < 0, -1, labels + 2 * 65536).astype(np.int32)
    of_sources = losses.BoundaryCrossEntropy(1, 4, ignore_label=-1, annotated=[[True] * 4] * 2)
    assert float(of_sources(mixed, logits)) == float(loss(labels, logits))


def test_weighted_sum_is_the_sum_of_the_losses() -> None:
    terms = [losses.CrossEntropy(), losses.Dice(), losses.LovaszSoftmax()]
    loss = losses.WeightedSum(terms, [1, 0.5, 2])
    labels, logits = example(terms[0])
    expected = [computed(term, labels, logits) for term in terms]
    value, gradient = computed(loss, labels, logits)
    assert value == pytest.approx(sum(w * each for w, (each, _) in zip((1, 0.5, 2), expected, strict=True)), rel=1e-6)
    summed = sum(w * each for w, (_, each) in zip((1, 0.5, 2), expected, strict=True))
    np.testing.assert_allclose(gradient, summed, atol=1e-7)


def test_dice_and_tversky_equal_those_of_keras_on_one_image_of_two_classes() -> None:
    """With the classes as channels of one image, Keras's loss over height and width is that of each class."""
    labels, logits = example(losses.Dice(), shape=(1, 6, 8), classes=2, ignored=0)
    labels[0, 0, 0] = 1
    target, probabilities = np.eye(2, dtype=np.float32)[labels], keras.ops.softmax(logits)
    own = float(losses.Dice()(labels, logits))
    theirs = [float(keras.losses.Dice()(target[..., each], probabilities[..., each])) for each in range(2)]
    assert own == pytest.approx(np.mean(theirs), abs=1e-5)  # Keras adds 1e-7 to numerator and denominator
    own = float(losses.Tversky(0.3, 0.7)(labels, logits))
    # Keras exchanges the two: its `alpha` is the weight of false negatives.
    theirs = [float(keras.losses.Tversky(0.7, 0.3)(target[..., c], probabilities[..., c])) for c in range(2)]
    assert own == pytest.approx(np.mean(theirs), abs=1e-5)
