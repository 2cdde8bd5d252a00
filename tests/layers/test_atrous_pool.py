"""Pools without their stride: every so-manieth place is what the pool with the stride gives."""

import keras
import numpy as np
import pytest

from tfseg.layers import AtrousMaxPooling2D, CaffeMaxPooling2D


def picture(size: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, size, size, 2)).astype(np.float32) - 5  # zeros would show


@pytest.mark.parametrize("size", [1, 9, 33])
def test_it_stands_for_a_pool_with_a_stride(size: int) -> None:
    x = picture(size)
    np.testing.assert_array_equal(AtrousMaxPooling2D(2)(x)[:, ::2, ::2], keras.layers.MaxPooling2D(2, 2, "same")(x))
    np.testing.assert_array_equal(
        AtrousMaxPooling2D(3, padding=1)(x)[:, ::2, ::2], CaffeMaxPooling2D(3, 2, padding=1)(x)
    )
    if size > 2:
        caffe = np.array(CaffeMaxPooling2D(3, 2)(x))
        rows = caffe.shape[1]
        np.testing.assert_array_equal(AtrousMaxPooling2D(3, padding=0)(x)[:, ::2, ::2][:, :rows, :rows], caffe)


@pytest.mark.parametrize("rate", [2, 3])
def test_holes_are_a_pool_of_every_so_manieth_place(rate: int) -> None:
    x = picture(12 * rate + 1)
    holed = AtrousMaxPooling2D(3, rate)(x)[:, ::rate, ::rate]
    np.testing.assert_array_equal(holed, AtrousMaxPooling2D(3)(x[:, ::rate, ::rate]))


def test_padding_is_less_than_the_window() -> None:
    with pytest.raises(ValueError) as error:
        AtrousMaxPooling2D((2, 3), padding=2)
    assert str(error.value) == (
        "`padding` must be less than `pool_size`, so that every window sees its place. "
        "Received: pool_size=(2, 3), padding=(2, 2)"
    )
