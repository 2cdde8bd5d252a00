"""The context networks, against convolutions in loops and the figures of the paper."""

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
    context = filled(size=size, dilations=(1, 3, 1))
    expected = X
    for rate, part in zip((1, 3, 1, 1), context.sublayers.values(), strict=True):
        convolution = convolved(expected, *part.get_weights(), rate=rate)
        expected = convolution if part.name == "ctx_final" else relu(convolution)
    np.testing.assert_allclose(context(X), expected, rtol=1e-4, atol=1e-4)


def test_once_pads_the_first_for_all() -> None:
    """So that a place near the border sees zeros, not what convolutions made of zeros."""
    context = filled(dilations=(1, 3, 1), padding="once")
    expected = np.pad(X, [(0, 0), (5, 5), (5, 5), (0, 0)])
    for rate, part in zip((1, 3, 1, 1), context.sublayers.values(), strict=True):
        convolution = convolved(expected, *part.get_weights(), rate=rate, padding=0)
        expected = convolution if part.name == "ctx_final" else relu(convolution)
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


def test_parameters_are_those_of_the_released_networks() -> None:
    counts = [
        sum(int(np.prod(weight.shape)) for weight in built(size=size, use_bias=bias).weights)
        for size in ("basic", "large")
        for bias in (False, True)
    ]
    assert counts == [28_224, 28_392, 6_801_102, 6_803_139]


def test_channels_and_names() -> None:
    large = built(size="large")
    assert [part.filters // 21 for part in large.sublayers.values()] == [2, 2, 4, 8, 16, 32, 32, 1]
    assert list(large.sublayers) == [
        "ctx_conv1_1", "ctx_conv1_2", "ctx_conv2_1", "ctx_conv3_1", "ctx_conv4_1", "ctx_conv5_1", "ctx_fc1",
        "ctx_final",
    ]  # fmt: skip
    cityscapes = built(19, dilations=(1, 1, 2, 4, 8, 16, 32, 64, 1))
    assert list(cityscapes.sublayers)[5:] == ["ctx_conv5_1", "ctx_conv6_1", "ctx_conv7_1", "ctx_fc1", "ctx_final"]


def test_the_receptive_field_grows_as_in_the_table() -> None:
    context, field, sizes = built(), ReceptiveField(), []
    for part in context.sublayers.values():
        field = field.then(part.kernel_size[0], dilation=part.dilation_rate[0])
        sizes.append(field.size)
    assert sizes == [3, 5, 9, 17, 33, 65, 67, 67]
    assert context.receptive_field == 67


@pytest.mark.parametrize("padding", ["same", "once"])
def test_one_place_is_seen_that_far_and_no_farther(padding: str) -> None:
    context = DilatedContext(1, padding=padding)
    x = np.zeros((1, 71, 71, 1), "float32")
    context.build(x.shape)
    for part in context.sublayers.values():
        part.kernel.assign(np.ones(part.kernel.shape))
    x[0, 35, 35] = 1
    rows = np.flatnonzero(np.asarray(context(x))[0, :, 35, 0])
    assert rows.min() == 35 - 33 and rows.max() == 35 + 33 and len(rows) == 67


def test_basic_begins_as_relu_at_the_border_too() -> None:
    for padding in ("same", "once"):
        np.testing.assert_array_equal(DilatedContext(3, padding=padding)(X), relu(X))


def test_large_begins_near_relu() -> None:
    """The random weights put it off by a tenth of what it passes on, and change the class of few places."""
    keras.utils.set_random_seed(0)
    x = (RANDOM.normal(size=(1, 24, 24, 21)) * 5).astype("float32")
    found, expected = np.asarray(DilatedContext(21, "large")(x)), relu(x)
    assert np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)) < 0.2
    assert np.mean(found.argmax(3) == expected.argmax(3)) > 0.85  # of noise in 21 channels, whose best are close
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


def test_first_weights_are_the_papers_formula() -> None:
    """Equation 5, entry by entry: `C / c` to the channels of one's own group, small and random elsewhere."""
    keras.utils.set_random_seed(0)
    context = DilatedContext(3, "large")
    context.build(X.shape)
    for part in context.sublayers.values():
        kernel, bias = part.get_weights()
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
def test_mistakes(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        DilatedContext(21, **arguments)


def test_it_reads_scores_of_the_classes() -> None:
    message = "Expected an input of 21 channels, the scores of as many `classes`. Received: input_shape=(2, 9, 7, 3)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        DilatedContext(21)(X)
