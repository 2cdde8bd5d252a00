"""Padding to the next size of the form `multiple * k + remainder`."""

import re
from typing import Any

import numpy as np
import pytest

from tfseg.layers import CropLike, PadToGrid

X = np.random.default_rng(0).uniform(size=(2, 7, 17, 3)).astype("float32")


@pytest.mark.parametrize("multiple", [1, 8, 32])
@pytest.mark.parametrize("remainder", [0, 1])
def test_output_has_the_next_valid_size(multiple: int, remainder: int) -> None:
    if remainder >= multiple:
        return
    actual = PadToGrid(multiple, remainder)(X)
    for before, after in zip(X.shape[1:3], actual.shape[1:3], strict=True):
        assert after == next(size for size in range(before, 99) if size % multiple == remainder)


def test_image_is_unchanged_and_padding_has_the_value() -> None:
    color = (122.67891434, 116.66876762, 104.00698793)
    actual = np.asarray(PadToGrid(8, value=color)(X))
    assert actual.shape == (2, 9, 17, 3)
    np.testing.assert_array_equal(actual[:, :7], X)
    np.testing.assert_array_equal(actual[:, 7:], np.broadcast_to(np.array(color, "float32"), (2, 2, 17, 3)))
    np.testing.assert_array_equal(CropLike(0)([actual, X]), X)


def test_scalar_and_default_value() -> None:
    assert np.all(np.asarray(PadToGrid(8, value=3)(X))[:, 7:] == 3)
    assert np.all(np.asarray(PadToGrid(8)(X))[:, 7:] == 0)


@pytest.mark.parametrize(("multiple", "remainder"), [(8, 8), (0, 0), (8, -1), (2.5, 1)])
def test_invalid_multiple_or_remainder(multiple: Any, remainder: int) -> None:
    message = (
        "`multiple` must be an integer of at least 1 and `remainder` an integer from 0 to `multiple - 1`. "
        f"Received: multiple={multiple}, remainder={remainder}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PadToGrid(multiple, remainder)


def test_values_must_match_the_channels() -> None:
    message = "Expected an input of 2 channels, one per value of `value`. Received: input_shape=(2, 7, 17, 3)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        PadToGrid(8, value=(1.0, 2.0))(X)
