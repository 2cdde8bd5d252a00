"""Bands of pixels near label boundaries, by chessboard distance.

The chessboard distance is the larger of the differences in rows and in columns. Both published implementations use it:
DeepLab dilates void by a square of side `2 r + 1`, and boundary IoU erodes masks `d` times by a square of side 3.
"""

from collections.abc import Sequence

from keras import ops

from tfseg.typing import Tensor

_FAR = 2.0**24
"""Value beyond all class ids."""


def near_boundary(labels: Tensor, radii: Sequence[int | Tensor], outside: int | None = None) -> list[Tensor]:
    """Returns one mask per radius of the pixels within that chessboard distance of a label boundary.

    A pixel is in the mask if the square of side `2 radius + 1` around it contains more than one label. A square
    contains a single label if and only if each of its blocks of 2x2 pixels does. A summed-area table counts the blocks
    with several labels in any rectangle, so the computation time does not depend on the radius.

    Args:
        labels: Integer tensor `[batch, height, width]`.
        radii: Radii of at least 1, in ascending order: Python integers, or scalar tensors if they depend on the image.
        outside: Label of the pixels outside the image. If `None`, the image border is not a boundary.

    Returns:
        List of boolean tensors of the shape of `labels`, one per radius.

    Reference:
        Crow, "Summed-Area Tables for Texture Mapping", SIGGRAPH 1984.
    """
    (height, width), largest = ops.shape(labels)[1:], radii[-1]
    border = (largest, largest - 1)
    blocks = ops.pad(ops.cast(_mixed_blocks(labels, outside), "int32"), [(0, 0), border, border])
    # Sums above 2^31 wrap around, and their differences wrap back: int32 is exact for images of any size.
    table = ops.cumsum(ops.cumsum(blocks, axis=1), axis=2)
    bands = []
    for radius in radii:
        first, last = largest - radius, largest + radius
        rows = table[:, last : last + height] - table[:, first : first + height]
        bands.append(rows[:, :, last : last + width] != rows[:, :, first : first + width])
    return bands


def _mixed_blocks(labels: Tensor, outside: int | None) -> Tensor:
    """Marks 2x2 blocks with several labels, `[batch, height + 1, width + 1]`, including those across the border."""
    mode, value = ("symmetric", None) if outside is None else ("constant", outside)
    padded = ops.pad(labels, [(0, 0), (1, 1), (1, 1)], mode, value)
    across = padded[:, :, 1:] != padded[:, :, :-1]
    down = padded[:, 1:, :-1] != padded[:, :-1, :-1]
    return ops.logical_or(ops.logical_or(across[:, 1:], across[:, :-1]), down)


def between_classes(labels: Tensor, labeled: Tensor, radius: int) -> Tensor:
    """Returns a mask of the pixels within a chessboard distance of labeled pixels of several classes.

    Unlike in `near_boundary`, pixels that are not labeled are no class of their own: they have no boundary.

    Args:
        labels: Integer tensor `[batch, height, width]`, class ids below 2^24.
        labeled: Boolean tensor `[batch, height, width]`.
        radius: Integer, radius of the square around a pixel.

    Returns:
        Boolean tensor `[batch, height, width]`, True if the square has labeled pixels of several classes.
    """
    values, side = ops.cast(labels, "float32"), 2 * radius + 1

    def largest(values: Tensor) -> Tensor:
        """Returns the maximum over the square around each pixel, of labeled pixels only."""
        pooled = ops.where(labeled, values, -_FAR)[..., None]
        for size in ((side, 1), (1, side)):
            pooled = ops.max_pool(pooled, size, strides=1, padding="same", data_format="channels_last")
        return pooled[..., 0]

    highest, lowest = largest(values), -largest(-values)
    return ops.logical_and(highest > lowest, highest > -_FAR)
