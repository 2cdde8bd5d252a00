"""CropLike crops one tensor to the size of another."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.layers import CropLike

X = np.random.default_rng(0).normal(size=(2, 9, 12, 3)).astype("float32")


def test_crop_starts_at_the_offset() -> None:
    actual = CropLike(2)([X, np.zeros((2, 5, 7, 1))])
    np.testing.assert_array_equal(actual, X[:, 2:7, 2:9])


def test_crop_with_dynamic_sizes() -> None:
    x, reference = keras.Input((None, None, 3)), keras.Input((None, None, 1))
    y = CropLike(1)([x, reference])
    assert y.shape == (None, None, None, 3)
    model = keras.Model([x, reference], y)
    for height, width in ((3, 4), (8, 11)):
        actual = model([X, np.zeros((2, height, width, 1))])
        np.testing.assert_array_equal(actual, X[:, 1 : height + 1, 1 : width + 1])


def test_gradient_is_zero_outside_the_crop() -> None:
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(CropLike(2)([x, X[:, :5, :7]]))
    expected = np.zeros_like(X)
    expected[:, 2:7, 2:9] = 1
    np.testing.assert_array_equal(tape.gradient(total, x), expected)


@pytest.mark.parametrize("offset", [-1, 1.5, None])
def test_offset_must_be_a_non_negative_integer(offset: object) -> None:
    message = f"`offset` must be an integer of at least 0. Received: offset={offset!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        CropLike(offset)


def test_static_crop_beyond_the_input_raises() -> None:
    message = (
        "Expected `x` to be larger than the reference by at least `offset` along each axis. "
        "Received: x.shape=(None, 9, None, 3), reference.shape=(None, 5, None, 1), offset=5"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        CropLike(5)([keras.Input((9, None, 3)), keras.Input((5, None, 1))])


def test_dynamic_crop_beyond_the_input_raises() -> None:
    """The output is never silently smaller than the reference."""
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape("Expected size[1] in [0, 4], but got 5")):
        CropLike(5)([X, np.zeros((2, 5, 7, 1))])


@pytest.mark.parametrize("shapes", [[(2, 9, 12, 3)], [(2, 9, 12, 3), (2, 5)], [(1, 2, 3, 4)] * 3])
def test_two_image_tensors_are_required(shapes: list[tuple[int, ...]]) -> None:
    message = f"Expected a list of two tensors of shape `[batch, height, width, channels]`. Received shapes: {shapes}"
    with pytest.raises(ValueError, match=re.escape(message)):
        CropLike(1).compute_output_shape(shapes)
