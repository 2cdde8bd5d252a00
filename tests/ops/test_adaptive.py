"""Adaptive average pooling, compared with a loop over its bins."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.ops import adaptive_average_pool


def loop(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Computes the mean of each bin with the bounds of PyTorch's `AdaptiveAvgPool2d`: floor of start, ceil of end."""
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
def test_bins_match_loop(size: tuple[int, int], bins: tuple[int, int], seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(2, *size, 3)).astype(np.float32)
    np.testing.assert_allclose(adaptive_average_pool(x, bins), loop(x, *bins), atol=1e-5)


def test_bins_overlap_where_they_do_not_divide_the_length() -> None:
    """The result of torch.nn.AdaptiveAvgPool1d(3) for 0 to 6, with the bins 0..2, 2..4 and 4..6."""
    x = np.arange(7.0, dtype=np.float32).reshape(1, 1, 7, 1)
    assert np.ravel(adaptive_average_pool(x, (1, 3))).tolist() == [1.0, 3.0, 5.0]


def test_graph_of_unknown_size() -> None:
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 2))])
    def pooled(x: tf.Tensor) -> tf.Tensor:
        return adaptive_average_pool(x, (3, 2))

    for size in ((1, 1), (5, 8), (12, 2)):
        x = np.random.default_rng(0).normal(size=(1, *size, 2)).astype(np.float32)
        np.testing.assert_allclose(pooled(x), loop(x, 3, 2), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_averaged_in_float32(dtype: str) -> None:
    x = tf.fill((1, 300, 300, 1), tf.constant(3.0, dtype))
    pooled = adaptive_average_pool(x, (1, 1))
    assert pooled.dtype == dtype
    assert float(pooled[0, 0, 0, 0]) == 3.0
