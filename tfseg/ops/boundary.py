"""Where the labels of an image change, and what lies near that, in chessboard distance.

That distance, the larger of the steps in rows and in columns, is the one of the two published programs: DeepLab's
trimaps are dilated by a square of side 2 r + 1, and boundary IoU erodes d times by a square of side 3.
"""

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops


def boundary(labels: Any, outside: int | None = None) -> Any:
    """Tells which pixels have another label among the eight around them.

    Args:
        labels: integers `[batch, height, width]`.
        outside: the label of what lies beyond the image. None: nothing lies there, and the border is no boundary.

    Returns:
        Booleans of the shape of `labels`.
    """
    mode, value = ("symmetric", None) if outside is None else ("constant", outside)
    padded = ops.pad(labels, [(0, 0), (1, 1), (1, 1)], mode, value)
    return _extreme(ops.minimum, padded) != _extreme(ops.maximum, padded)


def dilate(mask: Any, radii: Sequence[Any]) -> list[Any]:
    """Tells, for each radius, which pixels have one of the mask's within that distance.

    One summed-area table says how many pixels of the mask lie in any rectangle, so the time does not grow with the
    radius.

    Args:
        mask: booleans `[batch, height, width]`.
        radii: integers of at least 0, Python's, or scalar tensors where they depend on the image; the last the largest.

    Returns:
        For each radius booleans of the shape of `mask`.

    Reference:
        Crow, Summed-Area Tables for Texture Mapping (1984).
    """
    border = (radii[-1] + 1, radii[-1])
    # A sum past 2^31 wraps around, and differences of sums wrap back: int32 is exact for images of any size.
    table = ops.pad(ops.cast(mask, "int32"), [(0, 0), border, border])
    table = ops.cumsum(ops.cumsum(table, axis=1), axis=2)
    height, width = ops.shape(mask)[1:]
    masks = []
    for radius in radii:
        before, after = border[0] - radius - 1, border[0] + radius
        rows = table[:, after : after + height] - table[:, before : before + height]
        masks.append(rows[:, :, after : after + width] != rows[:, :, before : before + width])
    return masks


def _extreme(of: Callable[[Any, Any], Any], padded: Any) -> Any:
    """The smallest or the largest of nine: of three in each column, then of three of those."""
    columns = of(of(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return of(of(columns[:, :, :-2], columns[:, :, 1:-1]), columns[:, :, 2:])
