"""ASPP of DeepLab v3 and v3+, against a reference implementation in loops."""

import json
import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.reference import convolved, interpolated, normalized, relu
from tfseg.layers import AtrousSpatialPyramidPooling

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 9, 12, 3)).astype("float32")
EPSILON = 1e-3


def filled(layer: keras.layers.Layer, shape: tuple[int, ...] = X.shape) -> keras.layers.Layer:
    """Returns `layer` with distinct random weights, including the moving averages."""
    layer.build(shape)
    for weight in layer.weights:
        signs = RANDOM.choice([-1, 1], weight.shape) if "kernel" in weight.path else 1
        weight.assign(RANDOM.uniform(0.2, 1.0, weight.shape) * signs)
    return layer


def unit(x: np.ndarray, aspp: AtrousSpatialPyramidPooling, name: str, rate: int = 1) -> np.ndarray:
    """Applies convolution, BatchNorm and ReLU."""
    convolution = convolved(x, aspp.sublayers[name].get_weights()[0], rate=rate)
    return relu(normalized(convolution, aspp.sublayers[f"{name}_norm"].get_weights(), EPSILON))


def mean_of(x: np.ndarray, aspp: AtrousSpatialPyramidPooling) -> np.ndarray:
    pooled = unit(x.mean(axis=(1, 2), keepdims=True), aspp, "pooling")
    return np.broadcast_to(pooled, (*x.shape[:3], pooled.shape[3]))


def test_output_matches_the_reference() -> None:
    aspp = filled(AtrousSpatialPyramidPooling(4, (2, 5)))
    branches = [
        unit(X, aspp, "pointwise"),
        unit(X, aspp, "atrous_1", 2),
        unit(X, aspp, "atrous_2", 5),
        mean_of(X, aspp),
    ]
    expected = unit(np.concatenate(branches, axis=3), aspp, "projection")
    np.testing.assert_allclose(aspp(X), expected, rtol=1e-4, atol=1e-4)


def test_pooling_first_matches_the_reference() -> None:
    """Image-level pooling first, as in the released code, and only two branches: the published MobileNetV2 networks."""
    aspp = filled(AtrousSpatialPyramidPooling(4, (), order="pooling_first"))
    branches = [mean_of(X, aspp), unit(X, aspp, "pointwise")]
    expected = unit(np.concatenate(branches, axis=3), aspp, "projection")
    np.testing.assert_allclose(aspp(X), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", [True, False])
def test_separable_branches_match_the_reference(norm: bool) -> None:
    kwargs: dict[str, Any] = {"pooling": False, "pointwise": False, "projection": False}
    aspp = filled(AtrousSpatialPyramidPooling(4, (3,), separable=True, depthwise_norm=norm, **kwargs))
    depthwise = aspp.sublayers["atrous_1_depthwise"].get_weights()[0]
    full = np.zeros((3, 3, 3, 3))
    for channel in range(3):
        full[:, :, channel, channel] = depthwise[:, :, channel, 0]
    spread = convolved(X, full, rate=3)
    if norm:
        spread = relu(normalized(spread, aspp.sublayers["atrous_1_depthwise_norm"].get_weights(), EPSILON))
    np.testing.assert_allclose(aspp(X), unit(spread, aspp, "atrous_1"), rtol=1e-4, atol=1e-4)


def test_windowed_pooling_matches_the_reference() -> None:
    """`pool_kernel` of TF Model Garden: averages over windows, resized to the feature map."""
    aspp = filled(AtrousSpatialPyramidPooling(4, (), projection=False, pool_size=3, align_corners=True))
    means = X.reshape(2, 3, 3, 4, 3, 3).mean(axis=(2, 4))
    pooled = interpolated(unit(means, aspp, "pooling"), (9, 12))
    np.testing.assert_allclose(aspp(X)[..., 4:], pooled, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("size", [(1, 1), (5, 8)])
def test_training_with_batch_size_1_gives_no_nan(policy: str, size: tuple[int, int]) -> None:
    """The BatchNorm of the pooling branch receives one value per channel, with variance 0."""
    aspp = AtrousSpatialPyramidPooling(4, (2,), dtype=policy)
    x = tf.constant(RANDOM.normal(size=(1, *size, 3)), "float32")
    aspp.build(x.shape)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = aspp(x, training=True)
        total = tf.reduce_sum(tf.cast(y, "float32") ** 2)
    gradients = tape.gradient(total, [x, *(weight.value for weight in aspp.trainable_weights)])
    assert all(np.all(np.isfinite(each)) for each in [y, *gradients, *aspp.get_weights()])
    assert np.all(np.isfinite(aspp(x)))
    beta = tf.cast(aspp.sublayers["pooling_norm"].beta, aspp.compute_dtype)
    pooled = aspp.sublayers["pooling_norm"](aspp.sublayers["pooling"](x[:, :1, :1]), training=True)
    np.testing.assert_array_equal(pooled[0, 0, 0], beta)


def test_image_level_pooling_does_not_overflow_float16() -> None:
    """The sum of 65 x 65 values of 30 exceeds the range of float16."""
    kwargs: dict[str, Any] = {"rates": (), "pointwise": False, "projection": False, "activation": "linear"}
    aspp = AtrousSpatialPyramidPooling(2, dtype="mixed_float16", **kwargs)
    exact = AtrousSpatialPyramidPooling(2, **kwargs)
    x = np.full((1, 65, 65, 1), 30.0, "float32")
    for layer in (aspp, exact):
        layer.build(x.shape)
    aspp.set_weights(exact.get_weights())
    np.testing.assert_allclose(aspp(x), exact(x), rtol=5e-3)


def test_parameters_of_the_published_head() -> None:
    """2048 to 256 channels: 1x1, three 3x3, the pooled 1x1, each with gamma and beta, and the projection from 1280."""
    with keras.StatelessScope(initialize_variables=False):
        aspp = AtrousSpatialPyramidPooling()
        aspp.build((None, None, None, 2048))
    convolutions = 2048 * 256 * (1 + 3 * 9 + 1) + 5 * 256 * 256
    assert sum(np.prod(weight.shape) for weight in aspp.trainable_weights) == convolutions + 6 * 2 * 256


def test_weight_names_do_not_depend_on_the_rates() -> None:
    names = [
        [weight.path for weight in filled(AtrousSpatialPyramidPooling(4, r, name="aspp")).weights]
        for r in ((6, 12), (12, 24))
    ]
    assert names[0] == names[1]
    assert names[0][0] == "aspp/pointwise/kernel"
    assert "aspp/atrous_2_norm/gamma" in names[0]


def test_frozen_layers_have_frozen_sublayers_after_from_config() -> None:
    aspp = AtrousSpatialPyramidPooling(4, (2,), trainable=False)
    assert not any(layer.trainable for layer in aspp.sublayers.values())
    again = AtrousSpatialPyramidPooling.from_config(aspp.get_config())
    assert not any(layer.trainable for layer in again.sublayers.values())


def test_dropout_is_applied_in_training_only() -> None:
    aspp = filled(AtrousSpatialPyramidPooling(4, (), activation="linear", dropout=0.5))
    np.testing.assert_array_equal(aspp(X), aspp(X))
    assert 0.3 < np.mean(np.asarray(aspp(X, training=True)) == 0) < 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rates": (6, 0)}, "`rates` must be a sequence of positive integers. Received: rates=(6, 0)"),
        ({"rates": 6}, "`rates` must be a sequence of positive integers. Received: rates=6"),
        (
            {"rates": (), "pooling": False, "pointwise": False},
            "At least one branch is required: `rates`, `pooling` or `pointwise`. "
            "Received: rates=(), pooling=False, pointwise=False",
        ),
        ({"order": "last"}, '`order` must be "pooling_last" or "pooling_first". Received: order=\'last\''),
        (
            {"pool_size": 16, "pooling": False},
            "`pool_size` requires `pooling=True`. Received: pool_size=(16, 16), pooling=False",
        ),
        (
            {"dropout": 0.1, "projection": False},
            "`dropout` requires `projection=True`. Received: dropout=0.1, projection=False",
        ),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        AtrousSpatialPyramidPooling(**arguments)


@pytest.mark.parametrize(("size", "window"), [((5, 7), 9), ((5, 12), 9), ((20, 3), (4, 9))])
def test_windows_larger_than_the_feature_map_cover_all_of_it(
    size: tuple[int, int], window: int | tuple[int, int]
) -> None:
    """Static and dynamic sizes, against windows cut to the feature map."""
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    pair = (window, window) if isinstance(window, int) else window
    fitting = tuple(min(each, side) for each, side in zip(pair, size, strict=True))
    layers = [AtrousSpatialPyramidPooling(4, (), pointwise=False, pool_size=each) for each in (window, fitting)]
    expected = layers[1](x)
    layers[0].build(x.shape)
    layers[0].set_weights(layers[1].get_weights())
    np.testing.assert_allclose(layers[0](x), expected, atol=1e-6)
    graph = tf.function(layers[0], [tf.TensorSpec([None, None, None, 3])])
    np.testing.assert_allclose(graph(x), expected, atol=1e-6)


def test_numpy_integers_are_accepted() -> None:
    layer = AtrousSpatialPyramidPooling(4, (np.int64(2), 3), pool_size=(np.int64(4), 2))
    assert layer.get_config()["pool_size"] == (4, 2)
    assert json.loads(json.dumps(layer.get_config()))["rates"] == [2, 3]
