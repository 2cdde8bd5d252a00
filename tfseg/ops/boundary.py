"""What lies near a change of label, in chessboard distance.

That distance, the larger of the steps in rows and in columns, is the one of the two published programs: DeepLab's
trimaps are dilated by a square of side 2 r + 1, and boundary IoU erodes d times by a square of side 3.
"""

from collections.abc import Sequence
from typing import Any

from keras import ops


def near_boundary(labels: Any, radii: Sequence[Any], outside: int | None = None) -> list[Any]:
    """Tells, for each radius, around which pixels a square of side `2 radius + 1` has more than one label.

    A square has one label if and only if each block of 2x2 pixels in it has. One summed-area table counts the blocks
    that have several in any rectangle, so the time does not grow with the radius.

    Args:
        labels: integers `[batch, height, width]`.
        radii: integers of at least 1, Python's, or scalar tensors where they depend on the image; the last the largest.
        outside: the label of what lies beyond the image. None: nothing lies there, and the border is no boundary.

    Returns:
        For each radius booleans of the shape of `labels`.

    Reference:
        Crow, Summed-Area Tables for Texture Mapping (1984).
    """
    (height, width), largest = ops.shape(labels)[1:], radii[-1]
    border = (largest, largest - 1)
    blocks = ops.pad(ops.cast(_mixed_blocks(labels, outside), "int32"), [(0, 0), border, border])
    # A sum past 2^31 wraps around, and differences of sums wrap back: int32 is exact for images of any size.
    table = ops.cumsum(ops.cumsum(blocks, axis=1), axis=2)
    bands = []
    for radius in radii:
        first, last = largest - radius, largest + radius
        rows = table[:, last : last + height] - table[:, first : first + height]
        bands.append(rows[:, :, last : last + width] != rows[:, :, first : first + width])
    return bands


def _mixed_blocks(labels: Any, outside: int | None) -> Any:
    """Which blocks of 2x2 pixels have several labels, `[batch, height + 1, width + 1]`: those over the border too."""
    mode, value = ("symmetric", None) if outside is None else ("constant", outside)
    padded = ops.pad(labels, [(0, 0), (1, 1), (1, 1)], mode, value)
    across = padded[:, :, 1:] != padded[:, :, :-1]
    down = padded[:, 1:, :-1] != padded[:, :-1, :-1]
    return ops.logical_or(ops.logical_or(across[:, 1:], across[:, :-1]), down)
