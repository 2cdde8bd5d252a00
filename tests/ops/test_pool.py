"""Caffe's pooling, compared with a transcription of its loops."""

import itertools

import keras
import numpy as np
import pytest

from tfseg.ops.geometry import caffe_pool_size
from tfseg.ops.pool import caffe_average_pool, caffe_max_pool

WINDOWS = [
    (kernel, stride, padding)
    for kernel, stride, padding in itertools.product((1, 2, 3, 4), (1, 2, 3, 4), (0, 1, 2, 3))
    if stride <= kernel and padding < kernel
]


def loops(x: np.ndarray, kernel: int, stride: int, padding: int, average: bool) -> np.ndarray:
    """Transcription of Caffe's `PoolingLayer::Forward_cpu` for a square window."""
    batch, *sizes, channels = x.shape
    pooled = [caffe_pool_size(size, kernel, stride, padding) for size in sizes]
    y = np.zeros((batch, *pooled, channels), x.dtype)
    for i, j in itertools.product(*map(range, pooled)):
        starts = [i * stride - padding, j * stride - padding]
        ends = [min(start + kernel, size + padding) for start, size in zip(starts, sizes, strict=True)]
        count = (ends[0] - starts[0]) * (ends[1] - starts[1])
        rows, columns = (
            slice(max(start, 0), min(end, size)) for start, end, size in zip(starts, ends, sizes, strict=True)
        )
        window = x[:, rows, columns]
        y[:, i, j] = window.sum((1, 2)) / count if average else window.max((1, 2))
    return y


@pytest.mark.parametrize(("kernel", "stride", "padding"), WINDOWS)
def test_pooling_matches_caffe(kernel: int, stride: int, padding: int) -> None:
    window = [(size, size) for size in (kernel, stride, padding)]
    for height, width in ((7, 8), (9, 6), (4, 5)):
        x = np.random.default_rng(height).normal(size=(2, height, width, 3)).astype("float32") - 3  # mostly negative
        np.testing.assert_array_equal(caffe_max_pool(x, *window), loops(x, kernel, stride, padding, average=False))
        expected = loops(x, kernel, stride, padding, average=True)
        np.testing.assert_allclose(caffe_average_pool(x, *window), expected, atol=1e-5)


def test_rectangular_windows() -> None:
    x = np.random.default_rng(1).normal(size=(1, 8, 8, 2)).astype("float32")
    rows = loops(x, 3, 2, 1, average=False)[:, :, ::1]
    pooled = caffe_max_pool(x, (3, 1), (2, 1), (1, 0))
    assert tuple(pooled.shape) == (1, rows.shape[1], 8, 2)
    np.testing.assert_array_equal(caffe_max_pool(pooled, (1, 3), (1, 2), (0, 1)), rows)


def test_comparison_with_same_padding() -> None:
    """The statements on TensorFlow's `same` in the docstring of `tfseg.ops.pool`."""

    def equal(size: int, kernel: int, padding: int) -> bool:
        x = np.random.default_rng(size).normal(size=(1, size, size, 1)).astype("float32")
        same = keras.ops.max_pool(x, kernel, 2, "same")
        caffe = caffe_max_pool(x, (kernel, kernel), (2, 2), (padding, padding))
        return same.shape == caffe.shape and bool(np.all(same == caffe))

    assert all(equal(size, kernel=2, padding=0) for size in range(2, 12))
    assert [equal(size, kernel=3, padding=1) for size in (7, 8, 9, 10)] == [True, False, True, False]
    assert [equal(size, kernel=3, padding=0) for size in (7, 8, 9, 10)] == [False, True, False, True]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_padding_does_not_affect_maxima_in_half_precision(dtype: str) -> None:
    x = keras.ops.cast(np.full((1, 3, 3, 1), -6e4), dtype)
    y = caffe_max_pool(x, (3, 3), (2, 2), (1, 1))
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert np.all(np.asarray(keras.ops.cast(y, "float32")) == np.asarray(keras.ops.cast(x[:, :2, :2], "float32")))
