"""Pyramid pooling: its levels, at any size."""

import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.ops.test_adaptive import loop
from tfseg.layers import PyramidPooling
from tfseg.ops import resize

X = np.random.default_rng(0).normal(size=(2, 9, 14, 5)).astype(np.float32)


def test_levels_are_concatenated_after_the_feature_map_in_order() -> None:
    layer = PyramidPooling(filters=3, bins=(2, 1, 4))
    actual = np.asarray(layer(X))
    np.testing.assert_array_equal(actual[..., :5], X)
    for index, n in enumerate((2, 1, 4)):
        pooled = loop(X, n, n) @ np.asarray(layer.convs[index].kernel)[0, 0] / np.sqrt(1 + 1e-3)
        expected = resize(np.maximum(pooled, 0).astype(np.float32), (9, 14), align_corners=True)
        np.testing.assert_allclose(actual[..., 5 + 3 * index : 8 + 3 * index], expected, atol=1e-5)


def test_sublayers_are_the_layers_of_all_levels() -> None:
    layer = PyramidPooling(filters=3, bins=(2, 1))
    layer.build(X.shape)
    assert set(layer.convs) <= set(layer.sublayers.values())
    assert all(each.name == name for name, each in layer.sublayers.items())


def test_level_with_one_bin_is_constant() -> None:
    level = np.asarray(PyramidPooling(filters=3, bins=(1,))(X))[..., 5:]
    np.testing.assert_allclose(level, np.broadcast_to(level[:, :1, :1], level.shape), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 6), (60, 45)])
def test_any_size_gives_no_nan_in_training_with_batch_size_1(size: tuple[int, int]) -> None:
    layer = PyramidPooling(filters=3)
    x = tf.random.normal((1, *size, 5))
    with tf.GradientTape() as tape:
        actual = layer(x, training=True)
        loss = tf.reduce_sum(actual**2)
    assert actual.shape == (1, *size, 17)
    assert all(np.isfinite(gradient).all() for gradient in tape.gradient(loss, layer.trainable_variables))


def test_batch_norm_updates_its_statistics_in_training_only() -> None:
    layer = PyramidPooling(filters=3, bins=(2,), momentum=0.5)
    layer(X)
    assert not np.any(layer.norms[0].moving_mean)
    layer(X, training=True)
    assert np.all(layer.norms[0].moving_mean)


def test_parameters() -> None:
    """Four levels of 512 filters on 2048 channels, as in PSPNet: kernels, gamma and beta."""
    with keras.StatelessScope(initialize_variables=False):
        layer = PyramidPooling()
        layer(keras.Input((None, None, 2048)))
    assert sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights) == 4 * (2048 * 512 + 2 * 512)


@pytest.mark.parametrize("bins", [(), (1, 0), (2.0,), 3])
def test_invalid_bins(bins: Any) -> None:
    message = f"`bins` must be one or more integers of at least 1. Received: bins={bins!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PyramidPooling(bins=bins)
