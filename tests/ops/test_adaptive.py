"""Adaptive average pooling, against loops over its rule."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.ops import adaptive_average_pool


def by_rule(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The mean of each part, cut out as PyTorch's `AdaptiveAvgPool2d` does: floor in front, ceil behind."""
    batch, height, width, channels = x.shape
    pooled = np.zeros((batch, rows, columns, channels))
    for i in range(rows):
        for j in range(columns):
            top, bottom = int(np.floor(i * height / rows)), int(np.ceil((i + 1) * height / rows))
            left, right = int(np.floor(j * width / columns)), int(np.ceil((j + 1) * width / columns))
            pooled[:, i, j] = x[:, top:bottom, left:right].mean((1, 2))
    return pooled


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 25), st.integers(1, 25)),
    bins=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    seed=st.integers(0, 99),
)
def test_parts_are_those_of_the_rule(size: tuple[int, int], bins: tuple[int, int], seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(2, *size, 3)).astype(np.float32)
    np.testing.assert_allclose(adaptive_average_pool(x, bins), by_rule(x, *bins), atol=1e-5)


def test_parts_of_a_length_that_they_do_not_divide() -> None:
    """As torch.nn.AdaptiveAvgPool1d(3) gives for 0 to 6: parts 0..2, 2..4, 4..6."""
    x = np.arange(7.0, dtype=np.float32).reshape(1, 1, 7, 1)
    assert np.ravel(adaptive_average_pool(x, (1, 3))).tolist() == [1.0, 3.0, 5.0]


def test_one_graph_for_all_sizes() -> None:
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 2))])
    def pooled(x: tf.Tensor) -> tf.Tensor:
        return adaptive_average_pool(x, (3, 2))

    for size in ((1, 1), (5, 8), (12, 2)):
        x = np.random.default_rng(0).normal(size=(1, *size, 2)).astype(np.float32)
        np.testing.assert_allclose(pooled(x), by_rule(x, 3, 2), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_comes_back_as_it_was_and_is_summed_in_float32(dtype: str) -> None:
    x = tf.fill((1, 300, 300, 1), tf.constant(3.0, dtype))
    pooled = adaptive_average_pool(x, (1, 1))
    assert pooled.dtype == dtype
    assert float(pooled[0, 0, 0, 0]) == 3.0
