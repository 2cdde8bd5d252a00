"""Dilated max pooling: strided samples of its output equal strided pooling."""

import keras
import numpy as np
import pytest

from tfseg.layers import AtrousMaxPooling2D, CaffeMaxPooling2D


def image(size: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, size, size, 2)).astype(np.float32) - 5  # zeros would be the maximum


@pytest.mark.parametrize("size", [1, 9, 33])
def test_strided_samples_equal_strided_pooling(size: int) -> None:
    x = image(size)
    np.testing.assert_array_equal(AtrousMaxPooling2D(2)(x)[:, ::2, ::2], keras.layers.MaxPooling2D(2, 2, "same")(x))
    np.testing.assert_array_equal(
        AtrousMaxPooling2D(3, padding=1)(x)[:, ::2, ::2], CaffeMaxPooling2D(3, 2, padding=1)(x)
    )
    if size > 2:
        caffe = np.array(CaffeMaxPooling2D(3, 2)(x))
        rows = caffe.shape[1]
        np.testing.assert_array_equal(AtrousMaxPooling2D(3, padding=0)(x)[:, ::2, ::2][:, :rows, :rows], caffe)


@pytest.mark.parametrize("rate", [2, 3])
def test_dilated_pooling_equals_pooling_of_subsampled_input(rate: int) -> None:
    x = image(12 * rate + 1)
    dilated = AtrousMaxPooling2D(3, rate)(x)[:, ::rate, ::rate]
    np.testing.assert_array_equal(dilated, AtrousMaxPooling2D(3)(x[:, ::rate, ::rate]))


def test_padding_must_be_less_than_the_window() -> None:
    with pytest.raises(ValueError) as error:
        AtrousMaxPooling2D((2, 3), padding=2)
    assert str(error.value) == (
        "`padding` must be less than `pool_size`, so that every window contains its output position. "
        "Received: pool_size=(2, 3), padding=(2, 2)"
    )
