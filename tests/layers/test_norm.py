"""Choice of the normalization: against NumPy, and in composite layers."""

import re
from typing import Any

import keras
import numpy as np
import pytest

from tfseg.layers import AtrousSpatialPyramidPooling, BatchNormalization, PyramidPooling
from tfseg.layers.norm import IndivisibleChannels, Normalization, check_groups, chosen, normalization, normalized

X = np.random.default_rng(0).normal(2, 3, (2, 5, 4, 6)).astype("float32")


def layer(choice: Normalization | None = None, **published: Any) -> keras.layers.Layer:
    """Returns the layer that `normalized` applies to six channels."""
    image = keras.Input((None, None, 6))
    with normalization(choice or Normalization()):
        return keras.Model(image, normalized(image, "norm", **published)).layers[-1]


def test_default_is_batch_norm_with_published_values() -> None:
    norm = layer(momentum=0.99, epsilon=1e-5)
    assert type(norm) is BatchNormalization
    assert (norm.name, norm.momentum, norm.epsilon) == ("norm", 0.99, 1e-5)
    assert (layer().momentum, layer().epsilon) == (0.9, 1e-3)


def test_choice_overrides_published_values() -> None:
    norm = layer(Normalization(momentum=0.7, epsilon=0.1), momentum=0.99, epsilon=1e-5)
    assert (norm.momentum, norm.epsilon) == (0.7, 0.1)
    half = layer(Normalization(epsilon=0.1), momentum=0.99)
    assert (half.momentum, half.epsilon) == (0.99, 0.1)


def test_group_norm_matches_numpy() -> None:
    """Mean and variance of each image and each pair of channels; tolerance 1e-5 for float32 sums of 40 values."""
    norm = layer(Normalization("group", 3), epsilon=0.5, beta_initializer="ones")
    groups = X.astype(np.float64).reshape(2, 5, 4, 3, 2)
    mean = groups.mean((1, 2, 4), keepdims=True)
    variance = groups.var((1, 2, 4), keepdims=True)
    expected = ((groups - mean) / np.sqrt(variance + 0.5)).reshape(X.shape) + 1
    np.testing.assert_allclose(norm(X), expected, atol=1e-5)
    np.testing.assert_array_equal(norm(X, training=True), norm(X))


def test_choice_is_restored_after_the_context() -> None:
    with normalization(Normalization(momentum=0.5)):
        with pytest.raises(RuntimeError), normalization(Normalization("group")):
            raise RuntimeError
        assert chosen() == {"norm": "batch", "groups": 32, "momentum": 0.5, "epsilon": 1e-3}
    assert chosen(0.99, 0.1) == {"norm": "batch", "groups": 32, "momentum": 0.99, "epsilon": 0.1}


@pytest.mark.parametrize("kind", [AtrousSpatialPyramidPooling, PyramidPooling])
def test_composite_layers_load_independently_of_the_context(kind: type) -> None:
    with normalization(Normalization("group", 2)):
        made = kind(filters=4, **chosen(epsilon=0.25))
    again = kind.from_config(made.get_config())
    norms = [each for each in again._flatten_layers() if isinstance(each, keras.layers.GroupNormalization)]
    assert {(each.groups, each.epsilon) for each in norms} == {(2, 0.25)}
    with normalization(Normalization("group", 2)):
        other = kind.from_config(kind(filters=4).get_config())
    assert any(isinstance(each, keras.layers.BatchNormalization) for each in other._flatten_layers())


INDIVISIBLE = "must divide the number of channels of every normalized layer; the input of {} has {}. Received: {}"


def test_groups_must_divide_the_channels() -> None:
    with pytest.raises(IndivisibleChannels, match=f"^{re.escape(INDIVISIBLE.format('norm', 6, 4))}$"):
        layer(Normalization("group", 4))
    aspp = AtrousSpatialPyramidPooling(4, separable=True, norm="group", groups=2)
    with pytest.raises(ValueError, match=re.escape(INDIVISIBLE.format("atrous_1_depthwise_norm", 3, 2))):
        aspp(X[..., :3])
    with pytest.raises(ValueError, match=re.escape(INDIVISIBLE.format("conv1_bn", 4, 3))):
        PyramidPooling(4, norm="group", groups=3)(X)
    check_groups(keras.layers.ReLU(), 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norm": "layer"}, '`norm` must be "batch" or "group". Received: norm=\'layer\''),
        ({"groups": 0}, "`groups` must be an integer of at least 1. Received: groups=0"),
    ],
)
@pytest.mark.parametrize("kind", [AtrousSpatialPyramidPooling, PyramidPooling])
def test_invalid_arguments(kind: type, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        kind(**arguments)
