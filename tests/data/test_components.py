"""Connected parts of masks, against a search pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfseg.data.components import components


def searched(mask: np.ndarray, ignore: int) -> list[tuple[list[int], int, int]]:
    """Box, class and pixels of every part, found by walking from pixel to pixel."""
    seen = np.isin(mask, [0, ignore])
    found = []
    for start in np.ndindex(*mask.shape):
        if seen[start]:
            continue
        seen[start], pending, part = True, [start], []
        while pending:
            y, x = pending.pop()
            part.append((y, x))
            for near in np.ndindex(3, 3):
                there = (y + near[0] - 1, x + near[1] - 1)
                inside = 0 <= there[0] < mask.shape[0] and 0 <= there[1] < mask.shape[1]
                if inside and not seen[there] and mask[there] == mask[start]:
                    seen[there] = True
                    pending.append(there)
        (top, left), (bottom, right) = np.min(part, 0), np.max(part, 0) + 1
        found.append(([left, top, right, bottom], int(mask[start]), len(part)))
    return found


def listed(mask: np.ndarray, ignore: int) -> list[tuple[list[int], int, int]]:
    found = components(mask, ignore)
    return list(zip(found.boxes.tolist(), found.classes.tolist(), found.pixels.tolist(), strict=True))


@settings(max_examples=150, deadline=None)
@given(arrays.arrays(np.int32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3)))
def test_parts_are_those_of_a_search(mask: np.ndarray) -> None:
    assert listed(mask, 3) == searched(mask, 3)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.9])
def test_parts_of_larger_masks(share: float) -> None:
    """Long ways round: about where such a mask falls apart, parts are most winding."""
    mask = (np.random.default_rng(1).random((60, 70)) < share).astype(np.uint8)
    assert listed(mask, 255) == searched(mask, 255)


def test_a_spiral_is_one_part() -> None:
    mask = np.zeros((21, 21), np.int32)
    for ring in range(0, 10, 2):
        mask[ring, ring : 21 - ring] = mask[ring : 21 - ring, 20 - ring] = mask[20 - ring, ring : 21 - ring] = 1
        mask[ring + 2 : 21 - ring, ring] = 1
        mask[ring + 2, ring : ring + 2] = 1
    assert listed(mask, 255) == searched(mask, 255)
    assert len(components(mask, 255).boxes) == 1


def test_nothing_is_no_part() -> None:
    found = components(np.array([[0, 255], [255, 0]]), 255)
    assert [len(each) for each in found] == [0, 0, 0]
