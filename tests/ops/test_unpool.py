"""Max pooling with argmax indices and max unpooling, compared with TensorFlow's operations."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.ops.unpool import max_pool_with_argmax, max_unpool

WINDOWS = [((2, 2), (2, 2)), ((3, 3), (2, 2)), ((2, 3), (2, 3)), ((3, 3), (1, 1)), ((4, 3), (3, 2)), ((1, 2), (2, 3))]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("kernel", "stride"), WINDOWS)
def test_values_and_indices_match_tensorflow(kernel: tuple[int, int], stride: tuple[int, int], padding: str) -> None:
    def pool(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return max_pool_with_argmax(x, kernel, stride, padding)

    unknown_size = tf.function(pool, input_signature=[tf.TensorSpec([None, None, None, 3])])
    for size in ((8, 6), (7, 9), (13, 11), (5, 5)):
        # Many values are equal, to test that the first is selected. All are negative, to test the padding.
        x = np.random.default_rng(size[0]).integers(-9, 0, (2, *size, 3)).astype("float32")
        expected = tf.nn.max_pool_with_argmax(x, kernel, stride, padding.upper(), include_batch_in_index=False)
        for result in (pool(x), unknown_size(x)):
            for one, other in zip(result, expected, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_gradients_match_tensorflow(padding: str) -> None:
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 7, 9, 3)), "float32")
    gradients = []
    for pool in (
        lambda: max_pool_with_argmax(x, (3, 3), (2, 2), padding),
        lambda: tf.nn.max_pool_with_argmax(x, 3, 2, padding.upper()),
    ):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(pool()[0] ** 2)
        gradients.append(tape.gradient(total, x))
    np.testing.assert_allclose(*gradients, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 6), (7, 9), (13, 11)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_unpooling_inverts_pooling(size: tuple[int, int], padding: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    values, argmax = max_pool_with_argmax(x, (2, 2), (2, 2), padding)
    y = np.asarray(max_unpool(values, argmax, size))
    assert np.count_nonzero(y) == values.numpy().size
    np.testing.assert_array_equal(y[y != 0], x[y != 0])
    np.testing.assert_array_equal(np.sort(y[y != 0]), np.sort(np.ravel(values)))


def test_values_with_the_same_index_are_summed() -> None:
    updates, argmax = np.array([1.0, 2, 4]).reshape(1, 1, 3, 1), np.array([2, 0, 2]).reshape(1, 1, 3, 1)
    assert np.ravel(max_unpool(updates, argmax, (2, 2))).tolist() == [2, 0, 5, 0]


def test_gradient_gathers_at_the_indices() -> None:
    updates = tf.constant(np.random.default_rng(0).normal(size=(2, 2, 3, 4)), "float32")
    argmax = np.random.default_rng(1).integers(0, 4 * 6 * 4, (2, 2, 3, 4))
    weights = np.random.default_rng(2).normal(size=(2, 4, 6, 4)).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(updates)
        total = tf.reduce_sum(max_unpool(updates, argmax, (4, 6)) * weights)
    image, channel = np.arange(2)[:, None, None, None], np.arange(4)
    expected = weights[image, argmax // 24, argmax // 4 % 6, channel]
    np.testing.assert_allclose(tape.gradient(total, updates), expected, atol=1e-6)
