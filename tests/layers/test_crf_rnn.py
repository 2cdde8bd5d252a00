"""CRF-RNN, against the sum over all pairs, `dense_crf` and finite differences."""

import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tiers import rotating
from tfseg.layers import CrfRnn
from tfseg.ops import dense_crf
from tfseg.ops.crf.gaussian import gaussian_sums
from tfseg.ops.crf.mean_field import NORMALIZATIONS, Normalization, bilateral_features

THETAS = {"theta_alpha": 6.0, "theta_beta": 30.0, "theta_gamma": 2.0}
WINDOW: dict[str, Any] = {"kernel": "convolutional", "window": 5}
FORMS = [{}, WINDOW]
MODES = ["scalar", "per_class", "full"]
generator = np.random.default_rng(0)
MU = np.array([[-1.0, 0.3, 0.0, 0.2], [0.6, -0.8, 0.1, 0.0], [0.0, -0.2, -1.2, 0.4], [0.1, 0.5, 0.0, -0.9]])


def scene(batch: int = 1, height: int = 10, width: int = 12, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits that favor one class on each side, and a noisy image of two colors."""
    right = np.arange(width)[:, None] >= width // 2
    image = np.where(right, 170, 80) + generator.normal(0, 10, (batch, height, width, 3))
    logits = generator.normal(size=(batch, height, width, classes)) + np.where(right, *np.eye(classes)[:2])
    return logits.astype("float32"), image.clip(0, 255).astype("float32")


def layer(**arguments: Any) -> CrfRnn:
    """Returns a layer for 4 classes with distinct random weights."""
    crf = CrfRnn(**{**THETAS, **arguments})
    crf.build([(None, None, None, 4), (None, None, None, 3)])
    random = np.random.default_rng(1)
    for weight in crf.weights:
        weight.assign(weight + 0.2 * random.normal(size=weight.shape))
    return crf


def by_force(crf: CrfRnn, logits: np.ndarray, image: np.ndarray, iterations: int = 10) -> np.ndarray:
    """Computes `q = U - Mu (W_b F_b + W_s F_s)` with sums over all pairs (`K_b`: in the window) in float64."""
    size, classes = logits.shape[:2], logits.shape[2]
    unary, pixels = logits.reshape(-1, classes).astype("float64"), tf.constant(image, "float64")
    eye = tf.eye(len(unary), dtype="float64")
    bilateral = np.array(gaussian_sums(eye, bilateral_features(pixels, crf.theta_alpha, crf.theta_beta)))
    spatial = np.array(gaussian_sums(eye, bilateral_features(pixels, crf.theta_gamma, 1e9)))
    if crf.kernel == "convolutional":
        for positions in (np.ravel(each) for each in np.mgrid[: size[0], : size[1]]):
            bilateral[abs(positions[:, None] - positions) > crf.window // 2] = 0
    transforms = []
    for kernel, weight in ((bilateral, crf.bilateral_weights), (spatial, crf.spatial_weights)):
        n, weight = kernel.sum(1), np.asarray(weight, "float64")
        before = {"before": n, "symmetric": np.sqrt(n)}.get(crf.normalization, np.ones_like(n))
        after = {"after": n, "symmetric": np.sqrt(n)}.get(crf.normalization, np.ones_like(n))
        transforms.append((kernel / before / after[:, None], weight if weight.ndim == 2 else weight * np.eye(classes)))
    given = crf.compatibility
    mu = np.asarray(crf.mu) if given == "learned" else -np.eye(classes) if given == "potts" else np.asarray(given)
    q = unary
    for _ in range(iterations):
        p = np.exp(q - q.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        q = unary - sum(kernel @ p @ weight.T for kernel, weight in transforms) @ mu.T
    return q.reshape(logits.shape)


# Outputs.


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("normalization", rotating(NORMALIZATIONS, {"after", "symmetric"}))
@pytest.mark.parametrize("kernel_weights", MODES)
def test_convolutional_kernel_matches_the_sum_over_pairs(kernel_weights: Any, normalization: Normalization) -> None:
    small = {"bilateral_weight": 0.2, "spatial_weight": 0.1} if normalization == "none" else {}
    crf = layer(kernel_weights=kernel_weights, normalization=normalization, **small, **WINDOW)
    logits, image = scene(2)
    expected = [by_force(crf, *pair) for pair in zip(logits, image, strict=True)]
    np.testing.assert_allclose(crf([logits, image]), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.first_cases(2)
@pytest.mark.parametrize(("normalization", "kernel_weights"), list(zip(NORMALIZATIONS, [*MODES, "full"], strict=True)))
def test_spatial_kernel_alone_matches_the_sum_over_pairs(normalization: Normalization, kernel_weights: Any) -> None:
    crf = layer(kernel_weights=kernel_weights, normalization=normalization, spatial_weight=0.5)
    crf.bilateral_weights.assign(0 * crf.bilateral_weights)
    logits, image = scene()
    expected = by_force(crf, logits[0], image[0])
    np.testing.assert_allclose(crf([logits, image])[0], expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("compatibility", ["learned", "potts", MU.tolist()])
@pytest.mark.parametrize("form", FORMS)
def test_both_kernels_with_any_compatibility(form: dict[str, Any], compatibility: Any) -> None:
    """The lattice is an approximation; all other parts, which differ far more between compatibilities, are exact."""
    crf = layer(compatibility=compatibility, iterations=2, **form)
    assert len(crf.trainable_weights) == 3 - (compatibility != "learned")
    logits, image = scene()
    expected = by_force(crf, logits[0], image[0], iterations=2)
    actual = np.asarray(crf([logits, image], training=True)[0])
    assert np.abs(actual - expected).mean() < (1e-5 if form else 0.05) * np.abs(expected - logits[0]).mean()


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    ("normalization", "form"),
    [("symmetric", {"kernel_weights": "scalar", "compatibility": "potts"}), ("after", {})],
)
def test_equivalent_arguments_match_dense_crf(normalization: Normalization, form: dict[str, Any]) -> None:
    logits, image = scene(2)
    values = {"bilateral_weight": 2.5, "spatial_weight": 1.5, "normalization": normalization, **THETAS}
    expected = dense_crf(tf.nn.softmax(logits), image, **values)
    np.testing.assert_allclose(tf.nn.softmax(CrfRnn(**values, **form)([logits, image])), expected, atol=1e-5)


def test_initial_weights_are_those_of_the_authors() -> None:
    crf = CrfRnn()
    crf.build([(None, None, None, 21), (None, None, None, 3)])
    assert crf.count_params() == 1323
    np.testing.assert_array_equal(crf.spatial_weights, 3 * np.eye(21))
    np.testing.assert_array_equal(crf.bilateral_weights, 5 * np.eye(21))
    np.testing.assert_array_equal(crf.mu, -np.eye(21))
    assert [weight.path for weight in crf.weights] == [
        f"{crf.name}/{name}" for name in ("bilateral_weights", "spatial_weights", "compatibility")
    ]


def test_a_uniform_region_keeps_its_label() -> None:
    """The opposite sign of mu would invert the labels."""
    logits, image = np.zeros((1, 8, 8, 3), "float32"), np.full((1, 8, 8, 3), 90, "uint8")
    logits[..., 1] = 0.1
    for form in FORMS:
        actual = np.asarray(CrfRnn(**THETAS, **form)([logits, image]))
        assert np.all(actual.argmax(-1) == 1) and np.all(actual[..., 1] - actual[..., 0] > 5)


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_zero_return_the_logits(form: dict[str, Any]) -> None:
    logits, image = scene(2)
    for mode in MODES:
        crf = CrfRnn(
            **THETAS, **form, kernel_weights=mode, bilateral_weight=0, spatial_weight=0, inference_iterations=2
        )
        np.testing.assert_array_equal(crf([logits, image]), logits)


@pytest.mark.parametrize("form", FORMS)
def test_iterations_in_training_and_at_inference(form: dict[str, Any]) -> None:
    crf = layer(iterations=1, inference_iterations=4, **form)
    logits, image = scene()
    for training, count in ((True, 1), (False, 4), (None, 4)):
        other = layer(iterations=9, inference_iterations=count, **form)
        np.testing.assert_allclose(crf([logits, image], training=training), other([logits, image]), atol=1e-5)
    assert np.abs(crf([logits, image], training=True) - crf([logits, image])).max() > 0.01


@pytest.mark.parametrize("form", FORMS)
def test_images_of_a_batch_are_independent(form: dict[str, Any]) -> None:
    crf, (logits, image) = layer(**form), scene(3)
    alone = [crf([logits[i : i + 1], image[i : i + 1]])[0] for i in range(3)]
    np.testing.assert_allclose(crf([logits, image]), alone, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_grayscale_image_matches_three_equal_channels(form: dict[str, Any]) -> None:
    logits, image = scene()
    gray = image[..., :1]
    crf, color = (CrfRnn(**THETAS, **form) for _ in range(2))
    expected = np.asarray(color([logits, np.repeat(gray, 3, -1)]))
    actual = np.asarray(crf([logits, gray]))
    assert np.mean(actual.argmax(-1) == expected.argmax(-1)) > 0.97
    if form:  # the lattice has a different number of dimensions
        np.testing.assert_allclose(actual, expected, atol=1e-4)


# Gradients.


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kernel_weights", "batch"), [("per_class", 1), pytest.param("full", 2, marks=pytest.mark.slow)]
)
def test_gradients_to_logits_and_weights(form: dict[str, Any], kernel_weights: Any, batch: int) -> None:
    crf = layer(dtype="float64", iterations=3, kernel_weights=kernel_weights, bilateral_weight=2.0, **form)
    logits, image = (tf.constant(each, "float64") for each in scene(batch, 3, 4))

    @tf.function
    def result(logits: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
        outputs, _ = crf.stateless_call(list(weights), [], [logits, image], training=True)
        return tf.nn.softmax(outputs)

    inputs = [logits, *(weight.value for weight in crf.trainable_weights)]
    actual, expected = tf.test.compute_gradient(result, inputs)
    assert len(actual) == 4
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
        assert np.abs(other).max() > 1e-3


def test_gradient_to_the_image() -> None:
    """The window matches finite differences; the lattice is close to a window over the whole image."""
    logits, _ = scene(height=12, width=14)
    rows, columns = np.mgrid[:12, :14]
    channels = [100 + 40 * np.tanh((columns - 6) / 3), 90 + 30 * np.tanh((rows - 5) / 2), 120 + 9 * np.sin(columns)]
    image = tf.constant((np.stack(channels, -1) + generator.normal(0, 3, (12, 14, 3)))[None])
    options: dict[str, Any] = {
        "normalization": "symmetric",
        "dtype": "float64",
        "iterations": 2,
        "bilateral_weight": 2.0,
    }

    gradients = {}
    for kernel in ("permutohedral", "convolutional"):
        crf = CrfRnn(**THETAS, **options, kernel=kernel, window=27, image_gradient=True)

        @tf.function
        def total(image: tf.Tensor, crf: CrfRnn = crf) -> tf.Tensor:
            return tf.reduce_sum(tf.nn.softmax(crf([logits, image], training=True))[..., 0] * columns)

        @tf.function
        def gradient(image: tf.Tensor, total: Any = total) -> tf.Tensor:
            return tf.gradients(total(image), image)[0]

        gradients[kernel] = np.ravel(gradient(image))
    direction = generator.normal(size=image.shape)
    difference = (total(image + 1e-3 * direction) - total(image - 1e-3 * direction)) / 2e-3
    np.testing.assert_allclose(np.sum(gradients["convolutional"] * np.ravel(direction)), difference, rtol=1e-4)
    assert np.corrcoef(*gradients.values())[0, 1] > 0.9
    assert 0.8 < np.linalg.norm(gradients["permutohedral"]) / np.linalg.norm(gradients["convolutional"]) < 1.25


@pytest.mark.parametrize("form", FORMS)
def test_no_gradient_to_the_image_by_default(form: dict[str, Any]) -> None:
    logits, image = map(tf.constant, scene())
    crf = layer(**form)
    with tf.GradientTape() as tape:
        tape.watch(image)
        total = tf.reduce_sum(crf([logits, image]) ** 2)
    actual = tape.gradient(total, image)
    assert actual is None or not np.any(actual)


# Invalid input.


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"theta_alpha": 0}, "`theta_alpha` must be positive and finite. Received: theta_alpha=0"),
        ({"theta_beta": -3.0}, "`theta_beta` must be positive and finite. Received: theta_beta=-3.0"),
        ({"theta_gamma": float("nan")}, "`theta_gamma` must be positive and finite. Received: theta_gamma="),
        (
            {"theta_gamma": 1e9},
            "`theta_gamma` must be at most 1000 pixels, because computation time grows with it. Received: theta_gamma=",
        ),
        (
            {"spatial_weight": float("inf")},
            "`spatial_weight` must be between -1000000 and 1000000. Received: spatial_weight=",
        ),
        ({"iterations": 0}, "`iterations` must be a positive integer. Received: iterations=0"),
        (
            {"inference_iterations": 2.5},
            "`inference_iterations` must be a positive integer. Received: inference_iterations=2.5",
        ),
        ({"window": 4}, "`window` must be an odd integer of at least 3. Received: window=4"),
        (
            {"kernel": "gaussian"},
            "`kernel` must be one of ('permutohedral', 'convolutional'). Received: kernel='gaussian'",
        ),
        ({"compatibility": "ising"}, "`compatibility` must be one of ('learned', 'potts'). Received: compatibility="),
        (
            {"compatibility": [[0, 1]]},
            '`compatibility` must be "learned", "potts" or a square matrix. Received: compatibility of shape (1, 2)',
        ),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        CrfRnn(**arguments)


def test_permutohedral_kernel_requires_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    text = (
        '`kernel="permutohedral"` requires the TensorFlow backend. Set `kernel` to "convolutional". '
        "Received: kernel='permutohedral' with the backend jax"
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        CrfRnn()
    assert CrfRnn(**WINDOW).supports_jit


def test_compatibility_must_match_the_number_of_classes() -> None:
    text = "`compatibility` must have a row and a column for each of 4 classes. Received: 2 rows"
    with pytest.raises(ValueError, match=re.escape(text)):
        CrfRnn(compatibility=[[0, 1], [1, 0]])(list(scene()))


@pytest.mark.parametrize("shape", [(1, 10, 11, 3), (2, 10, 12, 3), (1, 10, 12, 4)])
def test_image_must_match_the_size_of_the_logits(shape: tuple[int, ...]) -> None:
    text = (
        "Expected logits `[batch, height, width, classes]` and an image `[batch, height, width, 3]` (1 channel if "
        f"grayscale) of the same batch and size. Received: (1, 10, 12, 4) and {shape}"
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        CrfRnn()([scene()[0], np.full(shape, 9.0)])


@pytest.mark.parametrize("form", FORMS)
def test_image_must_match_the_size_of_the_logits_at_run_time(form: dict[str, Any]) -> None:
    inputs = [keras.Input((None, None, 4)), keras.Input((None, None, 3))]
    model = keras.Model(inputs, CrfRnn(**THETAS, **form, inference_iterations=1)(inputs))
    given = [scene()[0], np.full((1, 10, 11, 3), 9.0, "float32")]
    with pytest.raises(ValueError, match=r"of the same batch and size. Received: \(1, 10, 12, 4\)"):
        model(given)
    graph = tf.function(model, input_signature=[[tf.TensorSpec([None, None, None, n]) for n in (4, 3)]])
    text = "The image must have the batch, height and width of the logits. Received:"
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        graph(given)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [float("nan"), -1.0, 256.0, float("inf")])
def test_invalid_intensities(form: dict[str, Any], value: float) -> None:
    logits, image = scene()
    image[0, 2, 2, 1] = value
    text = "The image must have intensities from 0 to 255, without NaN (minimum and maximum shown). Received:"
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        CrfRnn(**THETAS, **form)([logits, image])


@pytest.mark.parametrize("form", FORMS)
def test_image_divided_by_255_raises(form: dict[str, Any]) -> None:
    logits, image = scene()
    crf = CrfRnn(**THETAS, **form)
    text = (
        "The image must have intensities from 0 to 255, but has fractions from 0 to 1 (maximum shown). Multiply it by "
        "255. Received:"
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        crf([logits, image / 255])
    for dark in (np.zeros_like(image), np.round(image / 255)):  # valid images, only dark
        assert np.all(np.isfinite(crf([logits, dark])))


def test_invalid_image_gives_nan_under_xla() -> None:
    logits, image = scene()
    crf = CrfRnn(**THETAS, **WINDOW, inference_iterations=1)
    compiled = tf.function(crf, jit_compile=True)
    assert np.all(np.isfinite(compiled([logits, image])))
    assert np.all(np.isnan(compiled([logits, image / 255])))


@pytest.mark.parametrize("form", FORMS)
def test_nan_in_the_logits_is_propagated(form: dict[str, Any]) -> None:
    """A diverged training run stays visible in its loss; other images of the batch are unaffected."""
    logits, image = scene(2)
    crf = CrfRnn(**THETAS, **form)
    expected = crf([logits, image])[1]
    logits[0, 3, 3, 1] = float("nan")
    actual = crf([logits, image])
    assert np.isnan(actual[0, 3, 3, 1])
    np.testing.assert_allclose(actual[1], expected, atol=1e-5)
