"""Max pooling with places, against TensorFlow's operation."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.ops.unpool import max_pool_with_argmax, max_unpool

WINDOWS = [((2, 2), (2, 2)), ((3, 3), (2, 2)), ((2, 3), (2, 3)), ((3, 3), (1, 1)), ((4, 3), (3, 2)), ((1, 2), (2, 3))]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("kernel", "stride"), WINDOWS)
def test_values_and_places_are_those_of_tensorflow(
    kernel: tuple[int, int], stride: tuple[int, int], padding: str
) -> None:
    def pool(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return max_pool_with_argmax(x, kernel, stride, padding)

    unknown_size = tf.function(pool, input_signature=[tf.TensorSpec([None, None, None, 3])])
    for size in ((8, 6), (7, 9), (13, 11), (5, 5)):
        # Many values are equal: the first counts. All are negative: padding never wins.
        x = np.random.default_rng(size[0]).integers(-9, 0, (2, *size, 3)).astype("float32")
        expected = tf.nn.max_pool_with_argmax(x, kernel, stride, padding.upper(), include_batch_in_index=False)
        for found in (pool(x), unknown_size(x)):
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_gradients_are_those_of_tensorflow(padding: str) -> None:
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
def test_every_value_goes_back_to_where_it_came_from(size: tuple[int, int], padding: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    values, places = max_pool_with_argmax(x, (2, 2), (2, 2), padding)
    y = np.asarray(max_unpool(values, places, size))
    assert np.count_nonzero(y) == values.numpy().size
    np.testing.assert_array_equal(y[y != 0], x[y != 0])
    np.testing.assert_array_equal(np.sort(y[y != 0]), np.sort(np.ravel(values)))


def test_values_of_one_place_are_added() -> None:
    updates, places = np.array([1.0, 2, 4]).reshape(1, 1, 3, 1), np.array([2, 0, 2]).reshape(1, 1, 3, 1)
    assert np.ravel(max_unpool(updates, places, (2, 2))).tolist() == [2, 0, 5, 0]


def test_the_gradient_gathers() -> None:
    updates = tf.constant(np.random.default_rng(0).normal(size=(2, 2, 3, 4)), "float32")
    places = np.random.default_rng(1).integers(0, 4 * 6 * 4, (2, 2, 3, 4))
    weights = np.random.default_rng(2).normal(size=(2, 4, 6, 4)).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(updates)
        total = tf.reduce_sum(max_unpool(updates, places, (4, 6)) * weights)
    image, channel = np.arange(2)[:, None, None, None], np.arange(4)
    expected = weights[image, places // 24, places // 4 % 6, channel]
    np.testing.assert_allclose(tape.gradient(total, updates), expected, atol=1e-6)
