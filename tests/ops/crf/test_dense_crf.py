"""`dense_crf`, compared with brute-force sums and pydensecrf, and its consistency."""

import functools
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.tiers import rotating
from tfseg.ops import dense_crf
from tfseg.ops.crf.gaussian import gaussian_sums
from tfseg.ops.crf.lattice import filtered, lattice
from tfseg.ops.crf.mean_field import NORMALIZATIONS, Normalization, bilateral_features, colors
from tfseg.ops.crf.parameters import PARAMETERS, CrfParameters

VALUES: dict[str, Any] = {
    "theta_alpha": 8.0,
    "theta_beta": 20.0,
    "theta_gamma": 2.0,
    "bilateral_weight": 4.0,
    "spatial_weight": 3.0,
}
GOLDEN = ["deeplab_like_symmetric", "largefov_after", "wide_none"]
IMAGES = ["2007_001774", "2007_000999", "2007_002445", "2007_000529", "2007_009252", "2007_008415"]


def scene(height: int, width: int, labels: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities and an image of two colors with noise."""
    generator = np.random.default_rng(seed)
    image = np.where(np.arange(width)[:, None] < width // 2, 60, 180) + generator.normal(0, 8, (1, height, width, 3))
    scores = np.exp(generator.normal(size=(1, height, width, labels)))
    return (scores / scores.sum(-1, keepdims=True)).astype("float32"), image.clip(0, 255).astype("float32")


def brute_force(
    probabilities: np.ndarray, image: np.ndarray, normalization: Normalization, iterations: int, **values: float
) -> np.ndarray:
    """Computes mean field with brute-force sums of both kernels, in float64."""
    pixels, labels = probabilities.shape[1] * probabilities.shape[2], probabilities.shape[3]
    unary = np.log(np.clip(probabilities.astype("float64"), 1e-5, 1)).reshape(pixels, labels)
    kernels = []
    features = bilateral_features(tf.constant(image[0], "float64"), values["theta_alpha"], values["theta_beta"])
    positions = bilateral_features(tf.constant(image[0], "float64"), values["theta_gamma"], 1e9)
    for weight, points in ((values["bilateral_weight"], features), (values["spatial_weight"], positions)):
        raw = np.asarray(gaussian_sums(tf.eye(pixels, dtype="float64"), points))
        n = raw.sum(1)
        before = {"before": n, "symmetric": np.sqrt(n)}.get(normalization, np.ones(pixels))
        after = {"after": n, "symmetric": np.sqrt(n)}.get(normalization, np.ones(pixels))
        kernels.append(weight * raw / after[:, None] / before)
    logits = unary
    for _ in range(iterations):
        q = np.exp(logits - logits.max(1, keepdims=True))
        q /= q.sum(1, keepdims=True)
        logits = unary + sum(kernel @ q for kernel in kernels)
    return np.asarray(tf.nn.softmax(logits)).reshape(probabilities.shape)


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(
    ("size", "labels"),
    [
        ((24, 24), 4),
        pytest.param((24, 24), 6, marks=pytest.mark.slow),
        pytest.param((11, 24), 3, marks=pytest.mark.slow),
        ((1, 7), 2),
        ((9, 8), 9),
    ],
)
def test_spatial_kernel_matches_brute_force(normalization: Normalization, size: tuple[int, int], labels: int) -> None:
    probabilities, image = scene(*size, labels)
    values = {**VALUES, "bilateral_weight": 0.0, "spatial_weight": 0.05 if normalization == "none" else 3.0}
    expected = brute_force(probabilities, image, normalization, 10, **values)
    refined = dense_crf(probabilities, image, normalization=normalization, **values)
    np.testing.assert_allclose(refined, expected, atol=1e-5)


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("weights", [{}, {"bilateral_weight": -0.5}, {"spatial_weight": 100.0}, {"iterations": 1}])
@pytest.mark.parametrize("labels", [2, *(pytest.param(labels, marks=pytest.mark.slow) for labels in (3, 5))])
def test_few_labels_match_many_labels(labels: int, weights: dict[str, Any]) -> None:
    """Few labels are computed relative to the first one, many in a column each. Zero probabilities are appended."""
    probabilities, image = scene(20, 24, labels)
    padded = np.concatenate([probabilities, np.zeros((1, 20, 24, 5), "float32")], -1)
    few = dense_crf(probabilities, image, **VALUES | weights)
    many = dense_crf(padded, image, **VALUES | weights)[..., :labels]
    rest = 1 - np.sum(many, -1, keepdims=True)  # from input probabilities of 1e-5
    assert rest.max() < 2e-3
    np.testing.assert_allclose(few, many / (1 - rest), atol=2e-3)


@pytest.mark.parametrize("normalization", ["before", "after", "symmetric"])
def test_both_kernels_approximate_brute_force(normalization: Normalization) -> None:
    probabilities, image = scene(20, 24)
    right = np.arange(24)[:, None] >= 12
    probabilities = 0.5 * probabilities + 0.5 * np.where(right, [0, 1, 0, 0], [1, 0, 0, 0]).astype("float32")
    expected = brute_force(probabilities, image, normalization, 10, **VALUES)
    refined = dense_crf(probabilities, image, normalization=normalization, **VALUES).numpy()
    assert np.mean(refined.argmax(-1) == expected.argmax(-1)) > 0.99
    assert np.abs(refined - expected).mean() < 0.01


def photograph(shared: Path, name: str) -> np.ndarray:
    (file,) = (shared / "data" / "voc2012").rglob(f"{name}.jpg")
    return np.array(Image.open(file).convert("RGB"))


def golden_probabilities(golden: Any, name: str, size: tuple[int, ...]) -> np.ndarray:
    scores = tf.image.resize(golden[f"scores/{name}"].astype("float32"), size)
    return np.clip(tf.nn.softmax(scores), 1e-5, 1)


@functools.cache
def golden(shared: Path) -> tuple[Any, dict[str, Any]]:
    folder = shared / "golden" / "densecrf"
    return np.load(folder / "pydensecrf_voc.npz"), json.loads((folder / "parameters.json").read_text())


def golden_parameters(values: dict[str, Any]) -> CrfParameters:
    return CrfParameters(values["w1"], values["sa"], values["sb"], values["w2"], values["sg"], values["mode"])


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("parameters", GOLDEN)
def test_labels_match_pydensecrf(shared: Path, parameters: str, name: str) -> None:
    arrays, sets = golden(shared)
    image = photograph(shared, name)
    probabilities = golden_probabilities(arrays, name, image.shape[:2])
    refined = dense_crf(probabilities[None], image[None], parameters=golden_parameters(sets[parameters]))
    equal = np.argmax(refined[0], -1) == arrays[f"labels/{parameters}/{name}"]
    assert equal.mean() >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
def test_pruned_labels_match_pydensecrf(shared: Path, name: str) -> None:
    """The threshold is 0.05, above the bound in docs/crf.md."""
    arrays, sets = golden(shared)
    image, crf = photograph(shared, name), golden_parameters(sets[GOLDEN[0]])
    probabilities = golden_probabilities(arrays, name, image.shape[:2])
    refined = dense_crf(probabilities[None], image[None], parameters=crf, prune=0.05)[0]
    assert np.count_nonzero(np.max(refined, (0, 1))) < 7
    assert np.mean(np.argmax(refined, -1) == arrays[f"labels/{GOLDEN[0]}/{name}"]) >= 0.999


def pydensecrf() -> ModuleType:
    try:
        return importlib.import_module("pydensecrf.densecrf")
    except ImportError:
        pytest.skip("requires the package pydensecrf2, which is built with a C++ compiler")


ERRORS_OF_PYDENSECRF = {(80, 13): 1.25575e-3, (67, 3): 6.4405e-3, (121, 5): 3.26947e-3, (20, 10): 1.74654e-3}
"""Mean error of its bilateral sums on `bilateral_crop`, by `theta_alpha` and `theta_beta` (pydensecrf2 1.1)."""


def bilateral_crop(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns random probabilities and a crop of a photograph."""
    image = photograph(shared, IMAGES[0])[100:132, 200:240]
    return np.random.default_rng(0).dirichlet(np.ones(4), image.shape[:2]).astype("float32"), image


def error_of_sums(q: np.ndarray, refined: np.ndarray, exact: np.ndarray) -> float:
    """Returns the mean error of the sums, as derived from one iteration up to a constant of all labels."""
    sums = [np.log(each) - np.log(np.clip(q, 1e-5, 1)) for each in (refined, exact)]
    result, truth = (each - each.mean(-1, keepdims=True) for each in sums)
    return float(np.abs(result - truth).mean())


def exact_sums(q: np.ndarray, image: np.ndarray, theta_alpha: float, theta_beta: float) -> np.ndarray:
    values = {"theta_alpha": theta_alpha, "theta_beta": theta_beta, "theta_gamma": 1.0}
    return brute_force(q[None], image[None], "after", 1, **values, bilateral_weight=1.0, spatial_weight=0.0)[0]


@pytest.mark.first_cases(2)
@pytest.mark.parametrize(("thetas", "theirs"), ERRORS_OF_PYDENSECRF.items())
def test_bilateral_sums_are_as_accurate_as_pydensecrf(shared: Path, thetas: tuple[int, int], theirs: float) -> None:
    q, image = bilateral_crop(shared)
    crf = CrfParameters(1.0, *thetas, 0.0, 1.0, "after")
    refined = dense_crf(q[None], image[None], parameters=crf, iterations=1)[0].numpy()
    assert error_of_sums(q, refined, exact_sums(q, image, *thetas)) <= theirs * 1.001


@pytest.mark.parametrize(("thetas", "theirs"), ERRORS_OF_PYDENSECRF.items())
def test_errors_of_pydensecrf(shared: Path, thetas: tuple[int, int], theirs: float) -> None:
    crf = pydensecrf()
    q, image = bilateral_crop(shared)
    model = crf.DenseCRF2D(image.shape[1], image.shape[0], 4)
    model.setUnaryEnergy(np.ascontiguousarray(-np.log(np.clip(q, 1e-5, 1)).reshape(-1, 4).T))
    model.addPairwiseBilateral(
        sxy=thetas[0], srgb=thetas[1], rgbim=image.copy(), compat=1, normalization=crf.NORMALIZE_AFTER
    )
    refined = np.reshape(np.array(model.inference(1)).T, q.shape)
    assert error_of_sums(q, refined, exact_sums(q, image, *thetas)) == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize(("channels", "least", "most"), [(3, 0.45, 0.65), (1, 0.65, 0.85)])
def test_unnormalized_bilateral_sums_are_too_small(shared: Path, channels: int, least: float, most: float) -> None:
    """They are too small by a factor, which every normalization except `none` cancels."""
    image = bilateral_crop(shared)[1][..., :channels]
    for thetas in ERRORS_OF_PYDENSECRF:
        features = bilateral_features(colors(tf.constant(image, "float32")), *thetas)
        ones = tf.ones([features.shape[0], 1])
        ratio = filtered(lattice(features), ones) / gaussian_sums(ones, features)
        assert least < np.median(ratio) < most


def test_batch_matches_single_images() -> None:
    scenes = [scene(17, 23, seed=seed) for seed in range(3)]
    probabilities, images = (np.concatenate(each) for each in zip(*scenes, strict=True))
    batch = dense_crf(probabilities, images, **VALUES)
    single = [dense_crf(p, image, **VALUES)[0] for p, image in scenes]
    np.testing.assert_allclose(batch, single, atol=1e-5)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("form", [{}, {"prune": 0.05}, {"normalization": "after", "iterations": 5}], ids=str)
def test_results_are_deterministic(form: dict[str, Any]) -> None:
    """Two images are refined in parallel, each of them with several threads."""
    scenes = [scene(150, 170, 21, seed) for seed in range(2)]
    probabilities, images = (np.concatenate(each) for each in zip(*scenes, strict=True))
    probabilities[1, ..., 6:] *= 0.01
    np.testing.assert_array_equal(*(dense_crf(probabilities, images, **VALUES | form) for _ in range(2)))


def test_types_of_image_and_probabilities() -> None:
    probabilities, image = scene(9, 8)
    image = np.round(image)
    expected = dense_crf(probabilities, image, **VALUES)
    for dtype in ("uint8", "int32", "float64", "float16"):
        np.testing.assert_allclose(dense_crf(probabilities, image.astype(dtype), **VALUES), expected, atol=1e-6)
    exact = dense_crf(probabilities.astype("float64"), image, **VALUES)
    assert exact.dtype == "float64"
    np.testing.assert_allclose(exact, expected, atol=1e-4)
    half = dense_crf(probabilities.astype("float16"), image, **VALUES)
    assert half.dtype == "float16"
    np.testing.assert_allclose(half, expected, atol=2e-3)


def test_arrays_of_any_memory_layout() -> None:
    """TensorFlow could share arrays aligned to 64 bytes with NumPy. The result does not change with them afterwards."""
    probabilities, image = scene(9, 8)
    expected = dense_crf(probabilities, image, **VALUES).numpy()
    buffer = np.empty(probabilities.nbytes + 64, "uint8")
    aligned = buffer[-buffer.ctypes.data % 64 :][: probabilities.nbytes].view("float32").reshape(probabilities.shape)
    aligned[...] = probabilities
    refined = dense_crf(aligned, np.asfortranarray(image), **VALUES)
    aligned[...] = 0
    np.testing.assert_array_equal(refined, expected)
    mirrored = (np.ascontiguousarray(each[:, :, ::-1])[:, :, ::-1] for each in (probabilities, image))
    np.testing.assert_array_equal(dense_crf(*mirrored, **VALUES), expected)


def test_grayscale_image_counts_as_three_equal_channels() -> None:
    probabilities, image = scene(20, 24)
    gray = image[..., :1]
    expected = brute_force(probabilities, np.repeat(gray, 3, -1), "symmetric", 10, **VALUES)
    for each in (gray, np.repeat(gray, 3, -1)):
        refined = dense_crf(probabilities, each, **VALUES)
        assert np.mean(np.argmax(refined, -1) == expected.argmax(-1)) > 0.97


@pytest.mark.first_cases(2)
@pytest.mark.parametrize(("labels", "iterations"), [(2, 3), (5, 1), (8, 2), (21, 3), (33, 1)])
def test_numbers_of_labels_and_iterations(labels: int, iterations: int) -> None:
    probabilities, image = scene(12, 10, labels)
    values = {**VALUES, "bilateral_weight": 0}
    expected = brute_force(probabilities, image, "after", iterations, **values)
    refined = dense_crf(probabilities, image, iterations=iterations, normalization="after", **values)
    np.testing.assert_allclose(refined, expected, atol=1e-5)


def test_parameters_by_name() -> None:
    probabilities, image = scene(20, 24)
    for name in ("deeplab_v1_largefov", "deeplab_v2_resnet101"):
        crf = PARAMETERS[name]
        refined = dense_crf(probabilities, image, parameters=name)
        values = {key: value for key, value in vars(crf).items() if key != "source"}
        np.testing.assert_array_equal(refined, dense_crf(probabilities, image, **values))
    np.testing.assert_array_equal(refined, dense_crf(probabilities, image, parameters=crf))
    other = dense_crf(probabilities, image, parameters="crf_rnn", normalization="symmetric")
    assert np.abs(other - dense_crf(probabilities, image, parameters="crf_rnn")).max() > 1e-3


# Pruning.


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("labels", [11, 21, 60])
def test_pruning_excludes_improbable_labels(labels: int) -> None:
    """A label below `p` everywhere stays below `e p` in the full inference, if `e p (w_b + w_s) <= 1`."""
    probabilities, image = scene(20, 24, labels)
    prune = 0.01
    probabilities[..., 4:] *= 0.9 * prune / probabilities[..., 4:].max()
    probabilities[..., :4] *= (1 - probabilities[..., 4:].sum(-1, keepdims=True)) / probabilities[..., :4].sum(
        -1, keepdims=True
    )
    full = dense_crf(probabilities, image, normalization="after", **VALUES).numpy()
    pruned = dense_crf(probabilities, image, normalization="after", prune=prune, **VALUES).numpy()
    assert np.e * prune * (VALUES["bilateral_weight"] + VALUES["spatial_weight"]) <= 1
    assert full[..., 4:].max() <= np.e * prune
    assert np.count_nonzero(pruned.max((0, 1, 2))) == 4
    np.testing.assert_allclose(pruned.sum(-1), 1, atol=1e-5)
    assert np.mean(pruned.argmax(-1) == full.argmax(-1)) > 0.995
    order = np.argsort(-probabilities.max((0, 1, 2)))[:4]
    kept = probabilities[..., order]
    np.testing.assert_allclose(pruned[..., order], dense_crf(kept, image, normalization="after", **VALUES), atol=1e-5)


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("kept", [1, *(pytest.param(kept, marks=pytest.mark.slow) for kept in (4, 8, 20)), 5, 9, 21])
def test_pruning_keeps_probable_labels(kept: int) -> None:
    probabilities, image = scene(8, 9, 21)
    probabilities[..., kept:] = 0
    refined = dense_crf(probabilities, image, prune=1e-6, **VALUES).numpy()
    assert np.all(refined.max((0, 1, 2))[:kept] > 0)
    np.testing.assert_allclose(
        refined[..., :kept].argmax(-1), dense_crf(probabilities, image, **VALUES)[..., :kept].numpy().argmax(-1)
    )


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("kept", (9, 1, 2, 3, 4, 5, 7, 11))
def test_pruning_in_a_graph_matches_an_eager_call(kept: int) -> None:
    probabilities, image = scene(8, 9, 11)
    probabilities[..., kept:] = 0
    refine = functools.partial(dense_crf, prune=1e-3, **VALUES)
    refined = prune_in_a_graph(probabilities, image)
    np.testing.assert_allclose(refined, refine(probabilities, image), atol=1e-6)
    assert np.all((np.max(refined, (0, 1, 2)) > 0) == (np.arange(11) < kept))


@tf.function
def prune_in_a_graph(probabilities: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    return dense_crf(probabilities, image, prune=1e-3, **VALUES)


@pytest.mark.slow
def test_graphs_for_numbers_of_labels_cause_no_retracing_warning(caplog: pytest.LogCaptureFixture) -> None:
    probabilities, image = scene(6, 7, 12)
    logger = tf.get_logger()
    logger.addHandler(caplog.handler)
    try:
        for kept in (2, 3, 4, 5, 7, 12):
            masked = np.where(np.arange(12) < kept, probabilities, 0)
            dense_crf(masked, image, prune=2e-4, iterations=1, **VALUES)
    finally:
        logger.removeHandler(caplog.handler)
    assert "retracing" not in caplog.text


def test_pruning_keeps_the_most_probable_label() -> None:
    probabilities, image = scene(8, 9, 11)
    refined = dense_crf(probabilities, image, prune=0.999, **VALUES).numpy()
    np.testing.assert_array_equal(refined, np.arange(11) == np.argmax(probabilities.max((0, 1, 2))) + 0 * refined)


def test_empty_batch() -> None:
    probabilities, image = (each[:0] for each in scene(8, 9, 11))
    for prune in (None, 0.1):
        assert dense_crf(probabilities, image, prune=prune, **VALUES).shape == (0, 8, 9, 11)


def test_images_of_a_batch_are_pruned_independently() -> None:
    probabilities, image = scene(8, 9, 21)
    few = np.where(np.arange(21) < 5, probabilities, 0).astype("float32")
    batch = dense_crf(np.concatenate([probabilities, few]), np.concatenate([image, image]), prune=1e-3, **VALUES)
    for refined, single in zip(batch, (probabilities, few), strict=True):
        np.testing.assert_allclose(refined, dense_crf(single, image, prune=1e-3, **VALUES)[0], atol=1e-5)


# Gradients.


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("normalization", rotating(NORMALIZATIONS, {"none", "symmetric"}))
def test_gradients_match_finite_differences(normalization: Normalization) -> None:
    probabilities, image = (tf.constant(each, "float64") for each in scene(4, 5, 3))
    scale = 0.05 if normalization == "none" else 1.0

    @tf.function
    def refined(probabilities: tf.Tensor, bilateral: tf.Tensor, spatial: tf.Tensor) -> tf.Tensor:
        weights = {"bilateral_weight": bilateral, "spatial_weight": spatial}
        values = {**VALUES, **weights, "normalization": normalization}
        return dense_crf(probabilities, image, iterations=4, **values)

    inputs = [probabilities, tf.constant(1.5 * scale, "float64"), tf.constant(0.8 * scale, "float64")]
    for analytic, numeric in zip(*tf.test.compute_gradient(refined, inputs), strict=True):
        np.testing.assert_allclose(numeric, analytic, atol=1e-5)


@pytest.mark.slow
def test_gradients_of_a_batch_with_pruning() -> None:
    scenes = [scene(6, 7, 11, seed=seed) for seed in range(3)]
    probabilities, images = (tf.constant(np.concatenate(each)) for each in zip(*scenes, strict=True))

    def gradient(probabilities: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(probabilities)
            total = tf.reduce_sum(dense_crf(probabilities, images, prune=1e-6, **VALUES)[..., 0])
        return tape.gradient(total, probabilities)

    single = tf.concat([gradient(probabilities[i : i + 1], images[i : i + 1]) for i in range(3)], 0)
    for batch in (gradient(probabilities, images), tf.function(gradient)(probabilities, images)):
        np.testing.assert_allclose(batch, single, atol=1e-5)
    assert np.abs(single).max() > 1e-3


# Graphs.


class Refinement(tf.Module):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 10], tf.float32),
            tf.TensorSpec([None, None, None, 3], tf.uint8),
        ]
    )
    def refine(self, probabilities: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        return dense_crf(probabilities, image, prune=1e-4, **VALUES)


SERVE = """
import sys, numpy as np, tensorflow as tf
inputs = np.load(sys.argv[1] + "/inputs.npz")
refined = tf.saved_model.load(sys.argv[1]).refine(tf.constant(inputs["p"]), tf.constant(inputs["image"]))
np.save(sys.argv[1] + "/refined.npy", refined)
assert "tfseg" not in sys.modules
"""


@pytest.mark.slow
def test_saved_model_of_unknown_size_without_tfseg(tmp_path: Path) -> None:
    module = Refinement()
    for batch, size in ((1, (9, 14)), (2, (12, 8))):
        p, image = (np.repeat(each, batch, 0) for each in scene(*size, labels=10))
        image = np.round(image).astype("uint8")
        expected = dense_crf(p, image, prune=1e-4, **VALUES)
        np.testing.assert_allclose(module.refine(p, image), expected, atol=1e-5)
    tf.saved_model.save(module, str(tmp_path))
    np.savez(tmp_path / "inputs.npz", p=p, image=image)
    subprocess.run([sys.executable, "-c", SERVE, str(tmp_path)], cwd=tmp_path, check=True, timeout=300)
    np.testing.assert_allclose(np.load(tmp_path / "refined.npy"), expected, atol=1e-5)


def test_static_shape_of_the_result() -> None:
    @tf.function
    def graph(probabilities: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        refined = dense_crf(probabilities, image, **VALUES)
        assert refined.shape == (1, 9, 8, 4)
        return refined

    probabilities, image = scene(9, 8)
    np.testing.assert_allclose(graph(probabilities, image), dense_crf(probabilities, image, **VALUES), atol=1e-5)


THREADS = """
import sys, numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[2]))
tf.config.threading.set_inter_op_parallelism_threads(int(sys.argv[2]))
from tfseg.ops import dense_crf
inputs = np.load(sys.argv[1] + "/inputs.npz")
np.save(sys.argv[1] + "/threads.npy", dense_crf(inputs["p"], inputs["image"], parameters="deeplab_v1"))
"""


@pytest.mark.slow
def test_result_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    p, image = scene(200, 240, labels=21)
    np.savez(tmp_path / "inputs.npz", p=p, image=image)
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", THREADS, str(tmp_path), "1"], cwd=root, check=True, timeout=300)
    expected = dense_crf(p, image, parameters="deeplab_v1")
    np.testing.assert_allclose(np.load(tmp_path / "threads.npy"), expected, atol=1e-5)


# Invalid input.


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"theta_alpha": 0}, "`theta_alpha` must be positive and finite. Received: theta_alpha=0"),
        ({"theta_beta": -1.0}, "`theta_beta` must be positive and finite. Received: theta_beta=-1.0"),
        ({"theta_gamma": float("nan")}, "`theta_gamma` must be positive and finite. Received: theta_gamma=nan"),
        (
            {"theta_gamma": 1001},
            "`theta_gamma` must be at most 1000 pixels, because computation time grows with it. "
            "Received: theta_gamma=1001",
        ),
        (
            {"bilateral_weight": 1e300},
            "`bilateral_weight` must be between -1000000 and 1000000. Received: bilateral_weight=1",
        ),
        (
            {"spatial_weight": float("nan")},
            "`spatial_weight` must be between -1000000 and 1000000. Received: spatial_weight=n",
        ),
        (
            {"spatial_weight": [1.0, 2.0]},
            "`spatial_weight` must be a number or a scalar tensor. Received: spatial_weight.shape=(2,)",
        ),
        ({"iterations": True}, "`iterations` must be a positive integer. Received: iterations=True"),
        ({"iterations": 0}, "`iterations` must be a positive integer. Received: iterations=0"),
        ({"iterations": 2.5}, "`iterations` must be a positive integer. Received: iterations=2.5"),
        ({"prune": 1.0}, "`prune` must be a probability between 0 and 1, or None. Received: prune=1.0"),
        (
            {"normalization": "sum"},
            "`normalization` must be one of ['none', 'before', 'after', 'symmetric']. Received: normalization='sum'",
        ),
        (
            {"parameters": "deeplab"},
            f"`parameters` must be one of {sorted(PARAMETERS)}. Received: parameters='deeplab'",
        ),
        (
            {"theta_alpha": None, "spatial_weight": None},
            "Expected `parameters`, or all of their values as arguments. Missing: ['theta_alpha', 'spatial_weight']. "
            f"Published sets: {sorted(PARAMETERS)}",
        ),
    ],
)
def test_invalid_arguments_are_rejected(change: dict[str, Any], text: str) -> None:
    probabilities, image = scene(4, 4)
    given = {**VALUES, **change}
    with pytest.raises(ValueError, match=re.escape(text)):
        dense_crf(probabilities, image, **given)


def test_numpy_numbers_are_accepted() -> None:
    probabilities, image = scene(6, 5)
    numbers = {name: np.float32(value) for name, value in VALUES.items()} | {"iterations": np.int64(3)}
    expected = dense_crf(probabilities, image, **VALUES | {"iterations": 3})
    np.testing.assert_array_equal(dense_crf(probabilities, image, **numbers), expected)


@pytest.mark.parametrize("shape", [(1, 4, 5, 3), (2, 4, 4, 3), (4, 4, 3), (1, 4, 4, 4)])
def test_mismatched_shapes_are_rejected(shape: tuple[int, ...]) -> None:
    text = (
        "Expected `probabilities` of shape [batch, height, width, labels] and `image` of shape [batch, height, width, "
        "3] (or 1 channel), of the same batch and size. Received: probabilities.shape=(1, 4, 4, 4), "
        f"image.shape={shape}"
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        dense_crf(scene(4, 4)[0], np.full(shape, 9.0), **VALUES)


def test_mismatched_sizes_are_rejected_at_run_time() -> None:
    module = Refinement()
    text = "`image` must have the batch, height and width of `probabilities`. Received:"
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        module.refine(scene(4, 4, 10)[0], np.zeros((1, 4, 5, 3), "uint8"))


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.5, float("inf")])
def test_invalid_probabilities_are_rejected(value: float) -> None:
    probabilities, image = scene(4, 4)
    probabilities[0, 2, 2, 1] = value
    text = (
        "`probabilities` must be between 0 and 1, without NaN (minima and maxima of the images shown). Apply a softmax "
        "to logits first. Received:"
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        dense_crf(probabilities, image, **VALUES)


@pytest.mark.parametrize("value", [float("nan"), -1.0, 256.0, float("inf")])
def test_invalid_intensities_are_rejected(value: float) -> None:
    probabilities, image = scene(4, 4)
    image[0, 2, 2, 1] = value
    text = "`image` must have intensities from 0 to 255, without NaN (minima and maxima of the images shown)."
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        dense_crf(probabilities, image, **VALUES)


def test_image_divided_by_255_is_rejected() -> None:
    probabilities, image = scene(4, 4)
    text = (
        "`image` must have intensities from 0 to 255, but one image has values from 0 to 1 (maxima of the images "
        "shown). Multiply it by 255. Received:"
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        dense_crf(np.repeat(probabilities, 2, 0), np.concatenate([image, image / 255]), **VALUES)
    # Images of integers and black images are accepted.
    dense_crf(probabilities, np.ones_like(image, dtype="uint8"), **VALUES)
    dense_crf(probabilities, np.zeros_like(image), **VALUES)


def test_standard_deviations_that_overflow_keys_are_rejected() -> None:
    probabilities, image = scene(4, 4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too far apart for the permutohedral lattice"):
        dense_crf(probabilities, image, **{**VALUES, "theta_beta": 1e-3})


BACKEND = """
import sys
import keras
from tfseg.ops import dense_crf
keras.backend.backend = lambda: "jax"
try:
    dense_crf(None, None, parameters="crf_rnn")
except NotImplementedError as error:
    print(error)
"""


def test_other_backends_are_rejected() -> None:
    root = Path(__file__).resolve().parents[2]
    process = subprocess.run([sys.executable, "-c", BACKEND], cwd=root, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == (
        "`dense_crf` requires the TensorFlow backend. Set KERAS_BACKEND=tensorflow. Received: backend='jax'"
    )
