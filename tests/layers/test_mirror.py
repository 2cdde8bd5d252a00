"""Reflection padding at any size, against NumPy."""

import numpy as np
import pytest

from tfseg.layers import MirrorPadding2D


@pytest.mark.parametrize("size", [(3, 4), (2, 9), (1, 5), (1, 1), (30, 20)])
@pytest.mark.parametrize(("padding", "multiple"), [(0, 1), (2, 1), (17, 8), (186, 8)])
def test_reflection_matches_numpy(size: tuple[int, int], padding: int, multiple: int) -> None:
    x = np.random.default_rng(0).normal(size=(1, *size, 2)).astype(np.float32)
    widths = [(padding, padding + -side % multiple) for side in size]
    expected = np.pad(x, [(0, 0), *widths, (0, 0)], mode="reflect")
    np.testing.assert_array_equal(MirrorPadding2D(padding, multiple)(x), expected)


@pytest.mark.parametrize(("padding", "multiple"), [(-1, 1), (1, 0), (0.5, 1)])
def test_invalid_arguments(padding: int, multiple: int) -> None:
    with pytest.raises(ValueError) as error:
        MirrorPadding2D(padding, multiple)
    assert str(error.value) == (
        "`padding` must be an integer of at least 0 and `multiple` an integer of at least 1. "
        f"Received: padding={padding}, multiple={multiple}"
    )
