"""BatchNormalization against that of Keras: outputs, gradients and moving statistics."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.checks import run_tflite, tflite
from tests.processes import ROOT
from tfseg.keras_internals import layers_within
from tfseg.layers import AtrousSpatialPyramidPooling, BatchNormalization
from tfseg.ops.batch_norm import fused_batch_norm, is_fused
from tfseg.ops.runtime import in_xla
from tfseg.training import estimate_batch_norm

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(2, 3, (2, 9, 12, 5)).astype(np.float32)
FUSED = "FusedBatchNormV3"
ROUNDING = 1e-5
"""Tolerance relative to the largest value of a tensor: sums of 216 float32 values in another order."""


def made(kind: type[keras.layers.Layer], shape: tuple[int, ...], **arguments: Any) -> keras.layers.Layer:
    """Returns a built layer whose weights and moving statistics are random."""
    layer = kind(**arguments)
    layer.build(shape)
    random = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return layer


def results(layer: keras.layers.Layer, x: Any, wrap: Callable[..., Any] = tf.function, **options: Any) -> list[Any]:
    """Returns output, gradients by input and trainable weights, and all weights after one training step."""
    upstream = np.random.default_rng(2).normal(size=x.shape)
    sources = [weight.value for weight in layer.trainable_weights]

    def step(x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, **options)
            loss = tf.reduce_sum(tf.cast(y, "float32") * tf.cast(upstream, "float32"))
        return [y, *tape.gradient(loss, [x, *sources])]

    return [*wrap(step)(tf.constant(x)), *(weight.value for weight in layer.weights)]


def equal(found: list[Any], expected: list[Any], tolerance: float = ROUNDING) -> None:
    assert [each.dtype for each in found] == [each.dtype for each in expected]
    for one, other in zip(found, expected, strict=True):
        other = tf.cast(other, "float64").numpy()
        largest = np.abs(other).max(initial=1e-3)
        np.testing.assert_allclose(tf.cast(one, "float64").numpy(), other, rtol=0, atol=tolerance * largest)


def both(x: Any, wrap: Callable[..., Any] = tf.function, training: bool = True, **arguments: Any) -> tuple[Any, Any]:
    ours, theirs = (
        results(made(kind, x.shape, **arguments), x, wrap, training=training)
        for kind in (BatchNormalization, keras.layers.BatchNormalization)
    )
    return ours, theirs


def operations(layer: keras.layers.Layer, x: Any = X, **options: Any) -> set[str]:
    """Returns the names of the TensorFlow operations of a call."""
    layer.build(x.shape)
    graph = tf.function(lambda x: layer(x, **options)).get_concrete_function(x).graph
    return {each.type for each in graph.get_operations()}


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def on_xla(function: Callable[..., Any]) -> Callable[..., Any]:
    return tf.function(function, jit_compile=True)


ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"center": False},
    {"scale": False},
    {"center": False, "scale": False},
    {"momentum": 0.0},
    {"momentum": 1.0},
    {"epsilon": 1e-12},
    {"synchronized": True},
    {"epsilon": 0.5, "axis": 3},
    {"beta_regularizer": "l2", "gamma_constraint": "non_neg", "moving_mean_initializer": "ones"},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_training_matches_keras(arguments: dict[str, Any]) -> None:
    equal(*both(X, **arguments))
    assert FUSED in operations(BatchNormalization(**arguments), training=True)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("frozen", [False, True])
def test_moving_statistics_are_used_as_in_keras(arguments: dict[str, Any], frozen: bool) -> None:
    """At inference, and in training if the layer is frozen. The same operations compute bit-equal results."""
    found, expected = both(X, training=frozen, trainable=not frozen, **arguments)
    equal(found, expected, tolerance=0)
    assert FUSED not in operations(BatchNormalization(trainable=not frozen, **arguments), training=frozen)


@pytest.mark.parametrize("wrap", [eager, on_xla])
def test_eager_mode_and_xla_match_keras(wrap: Callable[..., Any]) -> None:
    equal(*both(X, wrap))


@pytest.mark.parametrize(
    "x",
    [X[:1, :1, :1], X[:2, :1, :1], np.zeros_like(X), X[..., :1], X * 1e-6, X * 1e6, RANDOM.normal(size=(3, 65, 65, 2))],
    ids=["one pixel", "two pixels", "zeros", "one channel", "small", "large", "many pixels"],
)  # fmt: skip
def test_inputs(x: np.ndarray) -> None:
    equal(*both(x.astype(np.float32), epsilon=0.1))


@pytest.mark.parametrize("mean", [10.0, 1000.0])
def test_large_means_are_as_precise_as_with_keras(mean: float) -> None:
    """Compares the output with that of float64: errors are not larger than those of Keras."""
    x = (X + mean).astype(np.float32)
    ours, theirs = both(x)
    exact = made(keras.layers.BatchNormalization, x.shape, dtype="float64")(x.astype(np.float64), training=True)
    errors = [float(np.abs(each[0].numpy() - exact.numpy()).max()) for each in (ours, theirs)]
    assert errors[0] <= errors[1]


def test_constant_channel_is_finite_with_xla() -> None:
    """With `E[x²] - E[x]²` of XLA's decomposition of the fused operation, the variance would be below `-epsilon`."""
    x = np.full((2, 33, 31, 4), 33.3, np.float32)
    layer = made(BatchNormalization, x.shape, epsilon=1e-5)
    assert np.isfinite(results(layer, x, on_xla, training=True)[0]).all()
    y = on_xla(lambda x: fused_batch_norm(x, tf.ones(4), tf.zeros(4), 1e-5)[0])(x)
    assert np.isnan(y).all(), "XLA computes this correctly now: use the fused operation there too"


def test_xla_is_recognized() -> None:
    seen: list[bool] = []

    def record(x: tf.Tensor) -> tf.Tensor:
        seen.append(in_xla())
        return x

    record(X)
    tf.function(lambda x: tf.function(record)(x))(X)
    tf.function(lambda x: tf.function(record)(x), jit_compile=True)(X)
    assert seen == [False, False, True]


def test_empty_batch() -> None:
    """Moving statistics become NaN as in Keras; so does Keras's gradient of gamma, which is 0 here."""
    ours, theirs = both(X[:0])
    for index in (1, 3, -2, -1):
        np.testing.assert_array_equal(ours[index], theirs[index])
    np.testing.assert_array_equal(ours[2], np.zeros(5))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_precision_policies_match_keras(policy: str) -> None:
    """Statistics are float32. The result is rounded once, so at most one unit in the last bit of the dtype differs."""
    dtype = keras.DTypePolicy(policy).compute_dtype
    x = tf.cast(X, dtype)
    found, expected = both(x, dtype=policy)
    equal(found, expected, {"float16": 1e-3, "bfloat16": 1e-2, "float64": 0}[dtype])
    if policy.startswith("mixed"):
        equal(found[-2:], expected[-2:])
    assert (FUSED in operations(BatchNormalization(dtype=policy), x, training=True)) == (policy != "float64")


def test_integer_input_matches_keras() -> None:
    x = RANDOM.integers(0, 200, (2, 4, 5, 3))
    ours, theirs = (
        made(kind, x.shape)(x, training=True) for kind in (BatchNormalization, keras.layers.BatchNormalization)
    )
    equal([ours], [theirs])


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 5), -1), ((4, 6, 5), -1), ((2, 3, 4, 5), 1), ((2, 3, 4, 5), -2), ((2, 2, 3, 4, 5), -1)]
)
def test_other_axes_and_ranks_are_computed_by_keras(shape: tuple[int, ...], axis: int) -> None:
    x = RANDOM.normal(size=shape).astype(np.float32)
    equal(*both(x, axis=axis), tolerance=0)
    assert not is_fused(tf.constant(x), axis)


def test_mask_is_computed_by_keras() -> None:
    mask = RANDOM.random((2, 9, 12)) < 0.5
    ours, theirs = (
        results(made(kind, X.shape), X, training=True, mask=mask)
        for kind in (BatchNormalization, keras.layers.BatchNormalization)
    )
    equal(ours, theirs, tolerance=0)


def test_renorm_is_computed_by_keras() -> None:
    if not hasattr(BatchNormalization(), "renorm"):
        pytest.skip("needs a version of Keras with renorm")
    equal(*both(X, renorm=True), tolerance=0)


def test_any_size_in_one_graph() -> None:
    """The number of values is that of the input, not of the first one."""
    layers = [made(kind, (None, None, None, 5)) for kind in (BatchNormalization, keras.layers.BatchNormalization)]
    for layer in layers:
        step = tf.function(layer, reduce_retracing=True)
        for x in (X, X[:1, :4], X[:, :, :3]):
            step(tf.constant(x), training=True)
    equal(*([weight.value for weight in layer.weights] for layer in layers))
    image = keras.Input((None, None, 5))
    model = keras.Model(image, BatchNormalization()(image))
    assert model.output.shape == (None, None, None, 5)


def test_model_can_be_cloned_saved_and_loaded(tmp_path: Path) -> None:
    image = keras.Input((None, None, 5))
    model = keras.Model(image, BatchNormalization(momentum=0.5, epsilon=0.25, name="norm")(image))
    model(X, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    for other in (loaded, clone):
        assert type(other.get_layer("norm")) is BatchNormalization
        assert other.get_layer("norm").get_config() == model.get_layer("norm").get_config()
    np.testing.assert_array_equal(loaded(X), model(X))


def test_files_of_keras_layers_load_as_they_are(tmp_path: Path) -> None:
    """Files written before this layer existed: whole models as Keras's layer, weights into either."""
    image = keras.Input((None, None, 5))
    theirs = keras.Model(image, keras.layers.BatchNormalization(name="norm")(image))
    theirs(X, training=True)
    theirs.save(tmp_path / "model.keras")
    theirs.save_weights(tmp_path / "model.weights.h5")
    assert type(keras.models.load_model(tmp_path / "model.keras").get_layer("norm")) is keras.layers.BatchNormalization
    ours = keras.Model(image, BatchNormalization(name="norm")(image))
    ours.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(ours(X), theirs(X))


def test_layers_of_composite_layers() -> None:
    layer = AtrousSpatialPyramidPooling(2, (1,))
    norms = [each for each in layers_within(layer) if isinstance(each, keras.layers.BatchNormalization)]
    assert norms and {type(each) for each in norms} == {BatchNormalization}


def test_statistics_can_be_estimated() -> None:
    image = keras.Input((None, None, 5))
    model = keras.Model(image, BatchNormalization(name="norm")(image))
    assert estimate_batch_norm(model, [X]) == 1
    np.testing.assert_allclose(model.get_layer("norm").moving_mean, X.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(model.get_layer("norm").moving_variance, X.reshape(-1, 5).var(0, ddof=1), rtol=1e-5)


def test_tflite_is_the_same_as_with_keras() -> None:
    image = keras.Input((9, 12, 5), 1)
    files = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        keras.utils.set_random_seed(0)
        conv = keras.layers.Conv2D(4, 3, use_bias=False)(image)
        files.append(run_tflite(tflite(keras.Model(image, keras.layers.ReLU()(kind(name="norm")(conv)))), [X[:1]]))
    ((found,), names), ((expected,), others) = files
    np.testing.assert_array_equal(found, expected)
    assert names == others == ["CONV_2D"]


def test_saved_model_has_the_operations_of_keras() -> None:
    assert operations(BatchNormalization()) == operations(keras.layers.BatchNormalization())


TWO_DEVICES = """
import sys
import keras, numpy as np, tensorflow as tf
from tfseg.layers import BatchNormalization

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = np.random.default_rng(0).normal(2, 3, (4, 6, 5, 3)).astype("float32")
halves = [tf.constant(x[:2]), tf.constant(x[2:])]
values = strategy.experimental_distribute_values_from_function(
    lambda context: halves[context.replica_id_in_sync_group]
)
for synchronized in (False, True):
    found = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        with strategy.scope():
            layer = kind(synchronized=synchronized)
            layer.build(x.shape)
        step = tf.function(lambda values: strategy.run(lambda x: layer(x, training=True), [values]))
        names = {each.type for each in step.get_concrete_function(values).graph.get_operations()}
        assert ("FusedBatchNormV3" in names) == (kind is BatchNormalization and not synchronized)
        outputs = strategy.experimental_local_results(step(values))
        found.append([*outputs, *(weight.numpy() for weight in layer.weights)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    together = np.allclose(np.concatenate(outputs).mean((0, 1, 2)), 0, atol=1e-5)
    apart = np.allclose(outputs[0].numpy().mean((0, 1, 2)), 0, atol=1e-5)
    assert together and apart != synchronized
"""


def test_two_replicas_match_keras() -> None:
    """Statistics of each replica, and of both."""
    subprocess.run([sys.executable, "-c", TWO_DEVICES], cwd=ROOT, check=True, timeout=120)
