"""Padding of small feature maps to a minimum size; larger ones are unchanged."""

import keras
import numpy as np
import pytest

from tfseg.layers import CropLike, PadToSize


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (9, 3), (7, 7), (8, 12)])
def test_zeros_are_added_at_the_bottom_and_right(size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    padded = np.asarray(PadToSize(7)(x))
    assert padded.shape == (2, max(size[0], 7), max(size[1], 7), 3)
    np.testing.assert_array_equal(padded[:, : size[0], : size[1]], x)
    assert not padded[:, size[0] :].any() and not padded[:, :, size[1] :].any()
    np.testing.assert_array_equal(CropLike(0)([padded, x]), x)


def test_height_and_width_may_differ() -> None:
    assert PadToSize((2, 5))(np.ones((1, 3, 3, 1))).shape == (1, 3, 5, 1)
    image = keras.Input((4, None, 1))
    assert PadToSize((6, 5))(image).shape == (None, 6, None, 1)
