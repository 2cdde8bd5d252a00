"""One network at several scales, against the same put together by hand."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.reference import convolved, interpolated, relu
from tfseg.layers import AtrousConv2D, MultiScale, Normalize
from tfseg.ops.geometry import interp_size
from tfseg.ops.resize import resize

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(0, 255, (2, 17, 25, 3)).astype("float32")


def network(features: bool = False) -> keras.Model:
    """A small Functional net of stride 2 with two kinds of layers of this project."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(6, 3, 2, "same", activation="relu", name="conv")(Normalize("tf", name="normalize")(image))
    scores = AtrousConv2D(4, 3, dilation_rate=2, padding="same", name="score")(x)
    return keras.Model(image, [scores, x] if features else scores, name="net")


def aligned(x: Any, size: tuple[int, int]) -> tf.Tensor:
    return resize(tf.constant(x), size, align_corners=True)


def test_sizes_are_those_of_deeplab() -> None:
    """Caffe's `Interp`: shrunk to every q-th place, then zoomed."""
    assert [interp_size(321, Fraction(3, 4)), interp_size(321, Fraction(1, 2))] == [241, 161]
    assert [interp_size(513, Fraction(3, 4)), interp_size(513, Fraction(1, 2))] == [385, 257]
    for length in range(1, 40):
        for zoom, shrink in ((3, 4), (1, 2), (5, 4), (2, 1)):
            shrunk = (length - 1) // shrink + 1
            assert interp_size(length, Fraction(zoom, shrink)) == shrunk + (shrunk - 1) * (zoom - 1)


def by_hand(net: keras.Model, x: np.ndarray) -> list[tf.Tensor]:
    """The scores at scales 1, 0.75 and 0.5, each at its own size."""
    height, width = x.shape[1:3]
    sizes = [((height - 1) * p // 4 + 1, (width - 1) * p // 4 + 1) for p in (3, 2)]
    return [net(x), *(net(aligned(x, size)) for size in sizes)]


@pytest.mark.parametrize("fusion", ["max", "mean"])
def test_it_is_the_net_at_each_scale(fusion: str) -> None:
    net = network()
    expected = by_hand(net, X)
    raised = [aligned(each, expected[0].shape[1:3]) for each in expected]
    fused = {"max": np.maximum.reduce(raised), "mean": np.mean(raised, axis=0)}[fusion]
    np.testing.assert_allclose(MultiScale(net, fusion=fusion)(X), fused, atol=1e-5)
    found = MultiScale(net, fusion=fusion, outputs="all")(X)
    for one, other in zip(found, [fused, *expected], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_one_convolution_in_loops() -> None:
    """Without any resizing of this project's, and with the scales in another order."""
    x = X[:1, :9, :13]
    layer = MultiScale(keras.layers.Conv2D(2, 3, padding="same"), scales=(0.5, 1))
    found, (kernel, bias) = layer(x), layer.get_weights()
    half = convolved(interpolated(x, (5, 7)), kernel, bias)
    np.testing.assert_allclose(
        found, np.maximum(convolved(x, kernel, bias), interpolated(half, (9, 13))), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("features", [True, False])
def test_attention(features: bool) -> None:
    """A weight for each scale and place, of all scales' features, or scores, at one size."""
    net = network(features)
    layer = MultiScale(net, fusion="attention", attention_filters=5)
    layer.build(X.shape)
    for weight in [*layer.attention_hidden.weights, *layer.attention.weights]:
        weight.assign(RANDOM.normal(size=weight.shape))
    outputs = [each if features else [each, each] for each in by_hand(net, X)]
    size = outputs[0][0].shape[1:3]
    scores, seen = ([aligned(each[index], size).numpy() for each in outputs] for index in (0, 1))
    hidden = relu(convolved(np.concatenate(seen, axis=3), *layer.attention_hidden.get_weights()))
    shares = np.exp(convolved(hidden, *layer.attention.get_weights()))
    shares /= shares.sum(axis=3, keepdims=True)
    expected = sum(shares[..., [index]] * each for index, each in enumerate(scores))
    np.testing.assert_allclose(layer(X), expected, atol=1e-4)
    assert layer.attention_hidden.kernel.shape == (3, 3, 3 * (6 if features else 4), 5)


def test_gradients_come_from_all_scales() -> None:
    """The gradient of the mean's sum is the sum of the gradients of the scales."""
    net = network()
    layer = MultiScale(net, fusion="mean", outputs="all")
    weights = [weight.value for weight in net.trainable_weights]
    with tf.GradientTape(persistent=True) as tape:
        fused, *_ = layer(X)
        total = tf.reduce_sum(fused**2)
        raised = [aligned(each, fused.shape[1:3]) for each in by_hand(net, X)]
        parts = [tf.reduce_sum(each * tf.stop_gradient(fused)) * 2 / 3 for each in raised]
    gradients = [tape.gradient(part, weights) for part in parts]
    for found, *each in zip(tape.gradient(total, weights), *gradients, strict=True):
        assert all(np.any(np.asarray(part) != 0) for part in each)
        np.testing.assert_allclose(found, sum(each), rtol=1e-3, atol=1e-3)


def test_weights_are_those_of_the_net() -> None:
    net = network()
    layer = MultiScale(net)
    layer.build(X.shape)
    assert [id(weight) for weight in layer.weights] == [id(weight) for weight in net.weights]
    layer.trainable = False
    assert not net.trainable_weights


@pytest.mark.parametrize("fusion", ["max", "attention"])
def test_a_net_inside_a_net_is_saved_and_loaded(fusion: str, tmp_path: Path) -> None:
    inner = network(features=fusion == "attention")
    inner.get_layer("conv").trainable = False
    image = keras.Input((None, None, 3))
    model = keras.Model(image, MultiScale(inner, fusion=fusion, attention_filters=5)(image))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for size in ((17, 25), (30, 22)):
        x = RANDOM.uniform(0, 255, (1, *size, 3)).astype("float32")
        np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert len(again.trainable_weights) == len(model.trainable_weights)
    assert again.layers[-1].layer.get_layer("conv").trainable is False
    assert [weight.path for weight in again.weights] == [weight.path for weight in model.weights]


def test_shapes_are_announced() -> None:
    image = keras.Input((321, None, 3))
    found = MultiScale(network(), outputs="all")(image)
    assert [each.shape for each in found] == [
        (None, 161, None, 4), (None, 161, None, 4), (None, 121, None, 4), (None, 81, None, 4),
    ]  # fmt: skip


def test_pixels_are_interpolated_in_float32() -> None:
    """200.3 is 200.25 in float16; one that was rounded before the mean was taken off would show."""
    x = np.full((1, 9, 9, 3), 200.3, "float32")
    found = MultiScale(Normalize("tf"), scales=(1, 0.5), fusion="mean", dtype="mixed_float16")(x)
    assert found.dtype == "float16"
    np.testing.assert_allclose(found, np.float16(200.3 / 127.5 - 1))


def test_integer_pixels() -> None:
    net = network()
    pixels = X.astype("uint8")
    np.testing.assert_allclose(MultiScale(net)(pixels), MultiScale(net)(pixels.astype("float32")), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"scales": (0.75, 0.5)},
            "`scales` must be different numbers of at least 0.01, one of them 1, whose scores set the size. "
            "Received: scales=(0.75, 0.5)",
        ),
        ({"fusion": "sum"}, '`fusion` must be "max", "mean" or "attention". Received: fusion=\'sum\''),
        ({"outputs": "both"}, '`outputs` must be "fused" or "all". Received: outputs=\'both\''),
    ],
)
def test_mistakes(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        MultiScale(keras.layers.Conv2D(1, 1), **arguments)
