"""Context modules, against convolutions in loops and the values of the paper."""

import re
from typing import Any

import keras
import numpy as np
import pytest

from tests.layers.reference import convolved, relu
from tfseg.layers import DilatedContext
from tfseg.ops.geometry import ReceptiveField
from tfseg.ops.kernels import grouped_identity

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 9, 7, 3)).astype("float32")


def filled(**arguments: Any) -> DilatedContext:
    context = DilatedContext(3, **arguments)
    context.build(X.shape)
    for weight in context.weights:
        weight.assign(RANDOM.normal(scale=0.3, size=weight.shape))
    return context


@pytest.mark.parametrize("size", ["basic", "large"])
def test_same_pads_each_convolution(size: str) -> None:
    context = filled(size=size, dilation_rates=(1, 3, 1))
    expected = X
    for rate, layer in zip((1, 3, 1, 1), context.sublayers.values(), strict=True):
        convolution = convolved(expected, *layer.get_weights(), rate=rate)
        expected = convolution if layer.name == "ctx_final" else relu(convolution)
    np.testing.assert_allclose(context(X), expected, rtol=1e-4, atol=1e-4)


def test_once_pads_before_the_first_convolution() -> None:
    """Positions near the border receive zeros rather than convolutions of zeros."""
    context = filled(dilation_rates=(1, 3, 1), padding="once")
    expected = np.pad(X, [(0, 0), (5, 5), (5, 5), (0, 0)])
    for rate, layer in zip((1, 3, 1, 1), context.sublayers.values(), strict=True):
        convolution = convolved(expected, *layer.get_weights(), rate=rate, padding=0)
        expected = convolution if layer.name == "ctx_final" else relu(convolution)
    assert expected.shape == X.shape
    np.testing.assert_allclose(context(X), expected, rtol=1e-4, atol=1e-4)
    other = DilatedContext(3, dilation_rates=(1, 3, 1))
    other.build(X.shape)
    other.set_weights(context.get_weights())
    assert np.any(np.abs(np.asarray(other(X)) - context(X)) > 0.01)


def built(channels: int = 21, **arguments: Any) -> DilatedContext:
    with keras.StatelessScope(initialize_variables=False):
        context = DilatedContext(channels, **arguments)
        context.build((None, None, None, channels))
    return context


def test_parameters_of_the_released_networks() -> None:
    counts = [
        sum(int(np.prod(weight.shape)) for weight in built(size=size, use_bias=bias).weights)
        for size in ("basic", "large")
        for bias in (False, True)
    ]
    assert counts == [28_224, 28_392, 6_801_102, 6_803_139]


def test_filters_and_names() -> None:
    large = built(size="large")
    assert [layer.filters // 21 for layer in large.sublayers.values()] == [2, 2, 4, 8, 16, 32, 32, 1]
    assert list(large.sublayers) == [
        "ctx_conv1_1", "ctx_conv1_2", "ctx_conv2_1", "ctx_conv3_1", "ctx_conv4_1", "ctx_conv5_1", "ctx_fc1",
        "ctx_final",
    ]  # fmt: skip
    cityscapes = built(19, dilation_rates=(1, 1, 2, 4, 8, 16, 32, 64, 1))
    assert list(cityscapes.sublayers)[5:] == ["ctx_conv5_1", "ctx_conv6_1", "ctx_conv7_1", "ctx_fc1", "ctx_final"]


def test_receptive_field_matches_table_1() -> None:
    context, field, sizes = built(), ReceptiveField(), []
    for layer in context.sublayers.values():
        field = field.then(layer.kernel_size[0], dilation=layer.dilation_rate[0])
        sizes.append(field.size)
    assert sizes == [3, 5, 9, 17, 33, 65, 67, 67]
    assert context.receptive_field == 67


@pytest.mark.parametrize("padding", ["same", "once"])
def test_impulse_response_has_the_size_of_the_receptive_field(padding: str) -> None:
    context = DilatedContext(1, padding=padding)
    x = np.zeros((1, 71, 71, 1), "float32")
    context.build(x.shape)
    for layer in context.sublayers.values():
        layer.kernel.assign(np.ones(layer.kernel.shape))
    x[0, 35, 35] = 1
    rows = np.flatnonzero(np.asarray(context(x))[0, :, 35, 0])
    assert rows.min() == 35 - 33 and rows.max() == 35 + 33 and len(rows) == 67


def test_basic_is_initialized_to_relu() -> None:
    for padding in ("same", "once"):
        np.testing.assert_array_equal(DilatedContext(3, padding=padding)(X), relu(X))


def test_large_is_initialized_close_to_relu() -> None:
    """The random weights change the output by about a tenth and the class of few positions."""
    keras.utils.set_random_seed(0)
    x = (RANDOM.normal(size=(1, 24, 24, 21)) * 5).astype("float32")
    actual, expected = np.asarray(DilatedContext(21, "large")(x)), relu(x)
    assert np.sqrt(np.mean((actual - expected) ** 2) / np.mean(expected**2)) < 0.2
    assert np.mean(actual.argmax(3) == expected.argmax(3)) > 0.85  # noise, whose largest values are close
    assert np.corrcoef(actual.ravel(), expected.ravel())[0, 1] > 0.98


def test_initial_weights_follow_equation_5() -> None:
    """Each entry: `C / c` within the same group of channels, small random values elsewhere."""
    keras.utils.set_random_seed(0)
    context = DilatedContext(3, "large")
    context.build(X.shape)
    for layer in context.sublayers.values():
        kernel, bias = layer.get_weights()
        rows, columns, inputs, outputs = kernel.shape
        same = np.array(
            [[a * 3 // inputs == b * 3 // outputs for b in range(outputs)] for a in range(inputs)], dtype=bool
        )
        np.testing.assert_allclose(kernel[rows // 2, columns // 2][same], 3 / outputs, rtol=1e-6)
        mask = grouped_identity(kernel.shape, 3)
        np.testing.assert_array_equal(mask[rows // 2, columns // 2], same)
        assert mask.sum() == same.sum() and not bias.any()
        assert kernel[~mask].std() == pytest.approx(0.01 * 3 / outputs, rel=0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "huge"}, '`size` must be "basic" or "large". Received: size=\'huge\''),
        ({"padding": "valid"}, '`padding` must be "same" or "once". Received: padding=\'valid\''),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        DilatedContext(21, **arguments)


def test_input_must_have_one_channel_per_class() -> None:
    message = "Expected an input of 21 channels, one per class (`num_classes`). Received: input_shape=(2, 9, 7, 3)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        DilatedContext(21)(X)
