"""`dense_crf` against the sum over all pairs, against pydensecrf, and against itself."""

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
PICTURES = ["2007_001774", "2007_000999", "2007_002445", "2007_000529", "2007_009252", "2007_008415"]


def scene(height: int, width: int, labels: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and an image of two colors with noise."""
    generator = np.random.default_rng(seed)
    image = np.where(np.arange(width)[:, None] < width // 2, 60, 180) + generator.normal(0, 8, (1, height, width, 3))
    scores = np.exp(generator.normal(size=(1, height, width, labels)))
    return (scores / scores.sum(-1, keepdims=True)).astype("float32"), image.clip(0, 255).astype("float32")


def by_force(
    probabilities: np.ndarray, image: np.ndarray, normalization: Normalization, iterations: int, **values: float
) -> np.ndarray:
    """Mean field with both kernels summed over all pairs, in float64."""
    pixels, labels = probabilities.shape[1] * probabilities.shape[2], probabilities.shape[3]
    unary = np.log(np.clip(probabilities.astype("float64"), 1e-5, 1)).reshape(pixels, labels)
    kernels = []
    features = bilateral_features(tf.constant(image[0], "float64"), values["theta_alpha"], values["theta_beta"])
    places = bilateral_features(tf.constant(image[0], "float64"), values["theta_gamma"], 1e9)
    for weight, these in ((values["bilateral_weight"], features), (values["spatial_weight"], places)):
        raw = np.asarray(gaussian_sums(tf.eye(pixels, dtype="float64"), these))
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
def test_spatial_kernel_alone_is_exact(normalization: Normalization, size: tuple[int, int], labels: int) -> None:
    probabilities, image = scene(*size, labels)
    values = {**VALUES, "bilateral_weight": 0.0, "spatial_weight": 0.05 if normalization == "none" else 3.0}
    expected = by_force(probabilities, image, normalization, 10, **values)
    found = dense_crf(probabilities, image, normalization=normalization, **values)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("weights", [{}, {"bilateral_weight": -0.5}, {"spatial_weight": 100.0}, {"iterations": 1}])
@pytest.mark.parametrize("labels", [2, *(pytest.param(labels, marks=pytest.mark.slow) for labels in (3, 5))])
def test_few_labels_are_refined_like_many(labels: int, weights: dict[str, Any]) -> None:
    """Few are computed by their differences, more in a column each: impossible ones make more of them."""
    probabilities, image = scene(20, 24, labels)
    more = np.concatenate([probabilities, np.zeros((1, 20, 24, 5), "float32")], -1)
    found = dense_crf(probabilities, image, **VALUES | weights)
    among = dense_crf(more, image, **VALUES | weights)[..., :labels]
    rest = 1 - np.sum(among, -1, keepdims=True)  # what probabilities of 1e-5 are worth in the end
    assert rest.max() < 2e-3
    np.testing.assert_allclose(found, among / (1 - rest), atol=2e-3)


@pytest.mark.parametrize("normalization", ["before", "after", "symmetric"])
def test_both_kernels_are_near_the_sum_over_all_pairs(normalization: Normalization) -> None:
    probabilities, image = scene(20, 24)
    right = np.arange(24)[:, None] >= 12
    probabilities = 0.5 * probabilities + 0.5 * np.where(right, [0, 1, 0, 0], [1, 0, 0, 0]).astype("float32")
    expected = by_force(probabilities, image, normalization, 10, **VALUES)
    found = dense_crf(probabilities, image, normalization=normalization, **VALUES).numpy()
    assert np.mean(found.argmax(-1) == expected.argmax(-1)) > 0.99
    assert np.abs(found - expected).mean() < 0.01


def picture(shared: Path, name: str) -> np.ndarray:
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
@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("parameters", GOLDEN)
def test_labels_are_those_of_pydensecrf(shared: Path, parameters: str, name: str) -> None:
    arrays, sets = golden(shared)
    image = picture(shared, name)
    probabilities = golden_probabilities(arrays, name, image.shape[:2])
    found = dense_crf(probabilities[None], image[None], parameters=golden_parameters(sets[parameters]))
    equal = np.argmax(found[0], -1) == arrays[f"labels/{parameters}/{name}"]
    assert equal.mean() >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_pruned_labels_are_those_of_pydensecrf(shared: Path, name: str) -> None:
    """Labels that no pixel gives more than 0.05: more than the bound of docs/crf.md allows for."""
    arrays, sets = golden(shared)
    image, crf = picture(shared, name), golden_parameters(sets[GOLDEN[0]])
    probabilities = golden_probabilities(arrays, name, image.shape[:2])
    found = dense_crf(probabilities[None], image[None], parameters=crf, prune=0.05)[0]
    assert np.count_nonzero(np.max(found, (0, 1))) < 7
    assert np.mean(np.argmax(found, -1) == arrays[f"labels/{GOLDEN[0]}/{name}"]) >= 0.999


def reference() -> ModuleType:
    try:
        return importlib.import_module("pydensecrf.densecrf")
    except ImportError:
        pytest.skip("needs the package pydensecrf2, which is made with a C++ compiler")


ERRORS_OF_PYDENSECRF = {(80, 13): 1.25575e-3, (67, 3): 6.4405e-3, (121, 5): 3.26947e-3, (20, 10): 1.74654e-3}
"""The mean error of its bilateral sums on `bilateral_crop`, by `theta_alpha` and `theta_beta` (pydensecrf2 1.1)."""


def bilateral_crop(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """A piece of a photograph, and what is summed over it."""
    image = picture(shared, PICTURES[0])[100:132, 200:240]
    return np.random.default_rng(0).dirichlet(np.ones(4), image.shape[:2]).astype("float32"), image


def error_of_sums(q: np.ndarray, refined: np.ndarray, exact: np.ndarray) -> float:
    """One iteration shows the sums, up to what all labels share: the mean distance of those of two refinements."""
    sums = [np.log(one) - np.log(np.clip(q, 1e-5, 1)) for one in (refined, exact)]
    found, truth = (one - one.mean(-1, keepdims=True) for one in sums)
    return float(np.abs(found - truth).mean())


def exact_sums(q: np.ndarray, image: np.ndarray, theta_alpha: float, theta_beta: float) -> np.ndarray:
    values = {"theta_alpha": theta_alpha, "theta_beta": theta_beta, "theta_gamma": 1.0}
    return by_force(q[None], image[None], "after", 1, **values, bilateral_weight=1.0, spatial_weight=0.0)[0]


@pytest.mark.first_cases(2)
@pytest.mark.parametrize(("thetas", "theirs"), ERRORS_OF_PYDENSECRF.items())
def test_bilateral_sums_are_as_good_as_those_of_pydensecrf(
    shared: Path, thetas: tuple[int, int], theirs: float
) -> None:
    q, image = bilateral_crop(shared)
    crf = CrfParameters(1.0, *thetas, 0.0, 1.0, "after")
    found = dense_crf(q[None], image[None], parameters=crf, iterations=1)[0].numpy()
    assert error_of_sums(q, found, exact_sums(q, image, *thetas)) <= theirs * 1.001


@pytest.mark.parametrize(("thetas", "theirs"), ERRORS_OF_PYDENSECRF.items())
def test_errors_of_pydensecrf(shared: Path, thetas: tuple[int, int], theirs: float) -> None:
    crf = reference()
    q, image = bilateral_crop(shared)
    model = crf.DenseCRF2D(image.shape[1], image.shape[0], 4)
    model.setUnaryEnergy(np.ascontiguousarray(-np.log(np.clip(q, 1e-5, 1)).reshape(-1, 4).T))
    model.addPairwiseBilateral(
        sxy=thetas[0], srgb=thetas[1], rgbim=image.copy(), compat=1, normalization=crf.NORMALIZE_AFTER
    )
    found = np.reshape(np.array(model.inference(1)).T, q.shape)
    assert error_of_sums(q, found, exact_sums(q, image, *thetas)) == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize(("channels", "least", "most"), [(3, 0.45, 0.65), (1, 0.65, 0.85)])
def test_raw_bilateral_sums_fall_short_by_a_factor(shared: Path, channels: int, least: float, most: float) -> None:
    """Every normalization but `none` divides the factor out."""
    image = bilateral_crop(shared)[1][..., :channels]
    for thetas in ERRORS_OF_PYDENSECRF:
        features = bilateral_features(colors(tf.constant(image, "float32")), *thetas)
        ones = tf.ones([features.shape[0], 1])
        ratio = filtered(lattice(features), ones) / gaussian_sums(ones, features)
        assert least < np.median(ratio) < most


def test_a_batch_is_its_images_one_by_one() -> None:
    both = [scene(17, 23, seed=seed) for seed in range(3)]
    probabilities, images = (np.concatenate(one) for one in zip(*both, strict=True))
    together = dense_crf(probabilities, images, **VALUES)
    alone = [dense_crf(p, image, **VALUES)[0] for p, image in both]
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("form", [{}, {"prune": 0.05}, {"normalization": "after", "iterations": 5}], ids=str)
def test_a_run_twice_is_bit_equal(form: dict[str, Any]) -> None:
    """Two images at a time, of which each has more than one processor's work."""
    both = [scene(150, 170, 21, seed) for seed in range(2)]
    probabilities, images = (np.concatenate(one) for one in zip(*both, strict=True))
    probabilities[1, ..., 6:] *= 0.01
    np.testing.assert_array_equal(*(dense_crf(probabilities, images, **VALUES | form) for _ in range(2)))


def test_any_type_of_image_and_of_probabilities() -> None:
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


def test_arrays_of_any_layout_and_whatever_becomes_of_them() -> None:
    """Arrays that TensorFlow would share with NumPy are aligned to 64 bytes; the result does not look at them again."""
    probabilities, image = scene(9, 8)
    expected = dense_crf(probabilities, image, **VALUES).numpy()
    room = np.empty(probabilities.nbytes + 64, "uint8")
    aligned = room[-room.ctypes.data % 64 :][: probabilities.nbytes].view("float32").reshape(probabilities.shape)
    aligned[...] = probabilities
    found = dense_crf(aligned, np.asfortranarray(image), **VALUES)
    aligned[...] = 0
    np.testing.assert_array_equal(found, expected)
    mirrored = (np.ascontiguousarray(one[:, :, ::-1])[:, :, ::-1] for one in (probabilities, image))
    np.testing.assert_array_equal(dense_crf(*mirrored, **VALUES), expected)


def test_a_gray_image_counts_as_three_equal_channels() -> None:
    probabilities, image = scene(20, 24)
    gray = image[..., :1]
    expected = by_force(probabilities, np.repeat(gray, 3, -1), "symmetric", 10, **VALUES)
    for found in (dense_crf(probabilities, gray, **VALUES), dense_crf(probabilities, np.repeat(gray, 3, -1), **VALUES)):
        assert np.mean(np.argmax(found, -1) == expected.argmax(-1)) > 0.97


@pytest.mark.first_cases(2)
@pytest.mark.parametrize(("labels", "iterations"), [(2, 3), (5, 1), (8, 2), (21, 3), (33, 1)])
def test_any_number_of_labels_and_iterations(labels: int, iterations: int) -> None:
    probabilities, image = scene(12, 10, labels)
    values = {**VALUES, "bilateral_weight": 0}
    expected = by_force(probabilities, image, "after", iterations, **values)
    found = dense_crf(probabilities, image, iterations=iterations, normalization="after", **values)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_parameters_by_name() -> None:
    probabilities, image = scene(20, 24)
    for name in ("deeplab_v1_largefov", "deeplab_v2_resnet101"):
        crf = PARAMETERS[name]
        found = dense_crf(probabilities, image, parameters=name)
        values = {key: value for key, value in vars(crf).items() if key != "source"}
        np.testing.assert_array_equal(found, dense_crf(probabilities, image, **values))
    np.testing.assert_array_equal(found, dense_crf(probabilities, image, parameters=crf))
    other = dense_crf(probabilities, image, parameters="crf_rnn", normalization="symmetric")
    assert np.abs(other - dense_crf(probabilities, image, parameters="crf_rnn")).max() > 1e-3


# Pruning.


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("labels", [11, 21, 60])
def test_pruning_leaves_out_what_no_pixel_finds_likely(labels: int) -> None:
    """A label below `p` everywhere stays below `e p` in the full inference, if `e p (w_b + w_s) <= 1`."""
    probabilities, image = scene(20, 24, labels)
    least = 0.01
    probabilities[..., 4:] *= 0.9 * least / probabilities[..., 4:].max()
    probabilities[..., :4] *= (1 - probabilities[..., 4:].sum(-1, keepdims=True)) / probabilities[..., :4].sum(
        -1, keepdims=True
    )
    full = dense_crf(probabilities, image, normalization="after", **VALUES).numpy()
    pruned = dense_crf(probabilities, image, normalization="after", prune=least, **VALUES).numpy()
    assert np.e * least * (VALUES["bilateral_weight"] + VALUES["spatial_weight"]) <= 1
    assert full[..., 4:].max() <= np.e * least
    assert np.count_nonzero(pruned.max((0, 1, 2))) == 4
    np.testing.assert_allclose(pruned.sum(-1), 1, atol=1e-5)
    assert np.mean(pruned.argmax(-1) == full.argmax(-1)) > 0.995
    order = np.argsort(-probabilities.max((0, 1, 2)))[:4]
    share = probabilities[..., order]
    np.testing.assert_allclose(pruned[..., order], dense_crf(share, image, normalization="after", **VALUES), atol=1e-5)


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("live", [1, *(pytest.param(live, marks=pytest.mark.slow) for live in (4, 8, 20)), 5, 9, 21])
def test_no_live_label_is_pruned(live: int) -> None:
    probabilities, image = scene(8, 9, 21)
    probabilities[..., live:] = 0
    found = dense_crf(probabilities, image, prune=1e-6, **VALUES).numpy()
    assert np.all(found.max((0, 1, 2))[:live] > 0)
    np.testing.assert_allclose(
        found[..., :live].argmax(-1), dense_crf(probabilities, image, **VALUES)[..., :live].numpy().argmax(-1)
    )


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("live", (9, 1, 2, 3, 4, 5, 7, 11))
def test_a_graph_prunes_like_an_eager_call(live: int) -> None:
    probabilities, image = scene(8, 9, 11)
    probabilities[..., live:] = 0
    refine = functools.partial(dense_crf, prune=1e-3, **VALUES)
    found = prune_in_a_graph(probabilities, image)
    np.testing.assert_allclose(found, refine(probabilities, image), atol=1e-6)
    assert np.all((np.max(found, (0, 1, 2)) > 0) == (np.arange(11) < live))


@tf.function
def prune_in_a_graph(probabilities: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    return dense_crf(probabilities, image, prune=1e-3, **VALUES)


@pytest.mark.slow
def test_a_graph_for_each_number_is_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    probabilities, image = scene(6, 7, 12)
    logger = tf.get_logger()
    logger.addHandler(caplog.handler)
    try:
        for live in (2, 3, 4, 5, 7, 12):
            among = np.where(np.arange(12) < live, probabilities, 0)
            dense_crf(among, image, prune=2e-4, iterations=1, **VALUES)
    finally:
        logger.removeHandler(caplog.handler)
    assert "retracing" not in caplog.text


def test_the_likeliest_label_stays() -> None:
    probabilities, image = scene(8, 9, 11)
    found = dense_crf(probabilities, image, prune=0.999, **VALUES).numpy()
    np.testing.assert_array_equal(found, np.arange(11) == np.argmax(probabilities.max((0, 1, 2))) + 0 * found)


def test_no_image_at_all() -> None:
    probabilities, image = (one[:0] for one in scene(8, 9, 11))
    for prune in (None, 0.1):
        assert dense_crf(probabilities, image, prune=prune, **VALUES).shape == (0, 8, 9, 11)


def test_each_image_of_a_batch_is_pruned_on_its_own() -> None:
    probabilities, image = scene(8, 9, 21)
    few = np.where(np.arange(21) < 5, probabilities, 0).astype("float32")
    together = dense_crf(np.concatenate([probabilities, few]), np.concatenate([image, image]), prune=1e-3, **VALUES)
    for one, alone in zip(together, (probabilities, few), strict=True):
        np.testing.assert_allclose(one, dense_crf(alone, image, prune=1e-3, **VALUES)[0], atol=1e-5)


# Gradients.


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("normalization", rotating(NORMALIZATIONS, {"none", "symmetric"}))
def test_gradients(normalization: Normalization) -> None:
    probabilities, image = (tf.constant(one, "float64") for one in scene(4, 5, 3))
    scale = 0.05 if normalization == "none" else 1.0

    @tf.function
    def refined(probabilities: tf.Tensor, bilateral: tf.Tensor, spatial: tf.Tensor) -> tf.Tensor:
        weights = {"bilateral_weight": bilateral, "spatial_weight": spatial}
        values = {**VALUES, **weights, "normalization": normalization}
        return dense_crf(probabilities, image, iterations=4, **values)

    inputs = [probabilities, tf.constant(1.5 * scale, "float64"), tf.constant(0.8 * scale, "float64")]
    for expected, found in zip(*tf.test.compute_gradient(refined, inputs), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_gradients_of_a_batch_in_a_graph_and_with_pruning() -> None:
    both = [scene(6, 7, 11, seed=seed) for seed in range(3)]
    probabilities, images = (tf.constant(np.concatenate(one)) for one in zip(*both, strict=True))

    def gradient(probabilities: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(probabilities)
            total = tf.reduce_sum(dense_crf(probabilities, images, prune=1e-6, **VALUES)[..., 0])
        return tape.gradient(total, probabilities)

    alone = tf.concat([gradient(probabilities[i : i + 1], images[i : i + 1]) for i in range(3)], 0)
    for found in (gradient(probabilities, images), tf.function(gradient)(probabilities, images)):
        np.testing.assert_allclose(found, alone, atol=1e-5)
    assert np.abs(alone).max() > 1e-3


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
found = tf.saved_model.load(sys.argv[1]).refine(tf.constant(inputs["p"]), tf.constant(inputs["image"]))
np.save(sys.argv[1] + "/found.npy", found)
assert "tfseg" not in sys.modules
"""


@pytest.mark.slow
def test_unknown_sizes_in_a_saved_model_without_tfseg(tmp_path: Path) -> None:
    module = Refinement()
    for batch, size in ((1, (9, 14)), (2, (12, 8))):
        p, image = (np.repeat(one, batch, 0) for one in scene(*size, labels=10))
        image = np.round(image).astype("uint8")
        expected = dense_crf(p, image, prune=1e-4, **VALUES)
        np.testing.assert_allclose(module.refine(p, image), expected, atol=1e-5)
    tf.saved_model.save(module, str(tmp_path))
    np.savez(tmp_path / "inputs.npz", p=p, image=image)
    subprocess.run([sys.executable, "-c", SERVE, str(tmp_path)], cwd=tmp_path, check=True, timeout=300)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-5)


def test_sizes_are_known_after_it() -> None:
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
def test_the_number_of_threads_changes_nothing(tmp_path: Path) -> None:
    p, image = scene(200, 240, labels=21)
    np.savez(tmp_path / "inputs.npz", p=p, image=image)
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", THREADS, str(tmp_path), "1"], cwd=root, check=True, timeout=300)
    expected = dense_crf(p, image, parameters="deeplab_v1")
    np.testing.assert_allclose(np.load(tmp_path / "threads.npy"), expected, atol=1e-5)


# Bad input.


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"theta_alpha": 0}, "`theta_alpha` must be greater than zero, and finite. Received: theta_alpha=0"),
        ({"theta_beta": -1.0}, "`theta_beta` must be greater than zero, and finite. Received: theta_beta=-1.0"),
        (
            {"theta_gamma": float("nan")},
            "`theta_gamma` must be greater than zero, and finite. Received: theta_gamma=nan",
        ),
        (
            {"theta_gamma": 1001},
            "`theta_gamma` must be at most 1000 pixels: time grows with it. Received: theta_gamma=1001",
        ),
        (
            {"bilateral_weight": 1e300},
            "`bilateral_weight` must lie within 1000000 of zero. Received: bilateral_weight=1",
        ),
        (
            {"spatial_weight": float("nan")},
            "`spatial_weight` must lie within 1000000 of zero. Received: spatial_weight=n",
        ),
        (
            {"spatial_weight": [1.0, 2.0]},
            "`spatial_weight` must be a number or a scalar tensor. Received: spatial_weight of shape (2,)",
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
            "A set of `parameters` is needed, or every value of one. Missing: ['theta_alpha', 'spatial_weight']. "
            f"Published sets: {sorted(PARAMETERS)}",
        ),
    ],
)
def test_bad_arguments(change: dict[str, Any], text: str) -> None:
    probabilities, image = scene(4, 4)
    given = {**VALUES, **change}
    with pytest.raises(ValueError, match=re.escape(text)):
        dense_crf(probabilities, image, **given)


def test_numbers_of_numpy_are_numbers() -> None:
    probabilities, image = scene(6, 5)
    numbers = {name: np.float32(value) for name, value in VALUES.items()} | {"iterations": np.int64(3)}
    expected = dense_crf(probabilities, image, **VALUES | {"iterations": 3})
    np.testing.assert_array_equal(dense_crf(probabilities, image, **numbers), expected)


@pytest.mark.parametrize("shape", [(1, 4, 5, 3), (2, 4, 4, 3), (4, 4, 3), (1, 4, 4, 4)])
def test_an_image_of_another_size(shape: tuple[int, ...]) -> None:
    text = (
        "Expected `probabilities` [batch, height, width, labels] and an `image` [batch, height, width, 3] (or 1, if it "
        f"is gray) of the same batch and size. Received: (1, 4, 4, 4) and {shape}"
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        dense_crf(scene(4, 4)[0], np.full(shape, 9.0), **VALUES)


def test_an_image_of_another_size_when_the_graph_runs() -> None:
    module = Refinement()
    text = "`image` must have the batch, height and width of `probabilities`. Received:"
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        module.refine(scene(4, 4, 10)[0], np.zeros((1, 4, 5, 3), "uint8"))


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.5, float("inf")])
def test_values_that_are_no_probabilities(value: float) -> None:
    probabilities, image = scene(4, 4)
    probabilities[0, 2, 2, 1] = value
    text = (
        "`probabilities` must lie between 0 and 1, without NaN. Lowest and highest of each image follow. Apply a "
        "softmax to scores first. Received:"
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        dense_crf(probabilities, image, **VALUES)


@pytest.mark.parametrize("value", [float("nan"), -1.0, 256.0, float("inf")])
def test_values_that_are_no_intensities(value: float) -> None:
    probabilities, image = scene(4, 4)
    image[0, 2, 2, 1] = value
    text = "`image` must hold intensities of 0 to 255, without NaN. Lowest and highest of each image follow."
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        dense_crf(probabilities, image, **VALUES)


def test_an_image_that_was_divided_by_255() -> None:
    probabilities, image = scene(4, 4)
    text = (
        "`image` must hold intensities of 0 to 255, and all of one is within 0 to 1, as if it had been divided by 255. "
        "Multiply it. The highest value of each image follows. Received:"
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(text)):
        dense_crf(np.repeat(probabilities, 2, 0), np.concatenate([image, image / 255]), **VALUES)
    # Integers cannot have been divided, and black is black.
    dense_crf(probabilities, np.ones_like(image, dtype="uint8"), **VALUES)
    dense_crf(probabilities, np.zeros_like(image), **VALUES)


def test_thetas_so_small_that_keys_would_overflow() -> None:
    probabilities, image = scene(4, 4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Points are too far apart for the lattice"):
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


def test_another_backend() -> None:
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run([sys.executable, "-c", BACKEND], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == (
        "`dense_crf` is made of TensorFlow's operations. Set KERAS_BACKEND=tensorflow. Received: backend='jax'"
    )
