"""Connected components of masks, compared with a flood fill."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfseg.data.components import components


def flood_filled(mask: np.ndarray, ignore: int) -> list[tuple[list[int], int, int]]:
    """Returns box, class and number of pixels of every component by flood fill."""
    visited = np.isin(mask, [0, ignore])
    found = []
    for start in np.ndindex(*mask.shape):
        if visited[start]:
            continue
        visited[start], pending, pixels = True, [start], []
        while pending:
            y, x = pending.pop()
            pixels.append((y, x))
            for offset in np.ndindex(3, 3):
                neighbor = (y + offset[0] - 1, x + offset[1] - 1)
                inside = 0 <= neighbor[0] < mask.shape[0] and 0 <= neighbor[1] < mask.shape[1]
                if inside and not visited[neighbor] and mask[neighbor] == mask[start]:
                    visited[neighbor] = True
                    pending.append(neighbor)
        (top, left), (bottom, right) = np.min(pixels, 0), np.max(pixels, 0) + 1
        found.append(([left, top, right, bottom], int(mask[start]), len(pixels)))
    return found


def listed(mask: np.ndarray, ignore: int) -> list[tuple[list[int], int, int]]:
    found = components(mask, ignore)
    return list(zip(found.boxes.tolist(), found.classes.tolist(), found.pixels.tolist(), strict=True))


@settings(max_examples=150, deadline=None)
@given(arrays.arrays(np.int32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3)))
def test_components_equal_those_of_a_flood_fill(mask: np.ndarray) -> None:
    assert listed(mask, 3) == flood_filled(mask, 3)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.9])
def test_components_of_larger_masks(share: float) -> None:
    """Near the percolation threshold, components are most winding."""
    mask = (np.random.default_rng(1).random((60, 70)) < share).astype(np.uint8)
    assert listed(mask, 255) == flood_filled(mask, 255)


def test_spiral_is_one_component() -> None:
    mask = np.zeros((21, 21), np.int32)
    for ring in range(0, 10, 2):
        mask[ring, ring : 21 - ring] = mask[ring : 21 - ring, 20 - ring] = mask[20 - ring, ring : 21 - ring] = 1
        mask[ring + 2 : 21 - ring, ring] = 1
        mask[ring + 2, ring : ring + 2] = 1
    assert listed(mask, 255) == flood_filled(mask, 255)
    assert len(components(mask, 255).boxes) == 1


def test_background_and_ignored_pixels_are_no_components() -> None:
    found = components(np.array([[0, 255], [255, 0]]), 255)
    assert [len(each) for each in found] == [0, 0, 0]
