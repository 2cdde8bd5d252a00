"""Distance transforms."""

from keras import ops

from tfseg.typing import Tensor


def distance_transform(mask: Tensor, limit: int) -> Tensor:
    """Computes the Euclidean distance of each pixel to the nearest pixel of a mask, up to a limit.

    The squared distance is the minimum, over the rows of a column, of the squared distances along the rows plus the
    squared differences of the rows (Felzenszwalb and Huttenlocher 2012, section 3). It is exact. Distances along a row
    take `log2(limit)` steps of doubled lengths, those along a column `2 limit` steps.

    Example:

    >>> import numpy as np
    >>> np.asarray(distance_transform(np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]], bool), limit=2)).round(3)
    array([[0.   , 1.   , 2.   ],
           [1.   , 1.414, 2.   ],
           [2.   , 2.   , 2.   ]], dtype=float32)

    Args:
        mask: Booleans `[height, width]`.
        limit: Integer, at least 1, distance that larger ones become.

    Returns:
        Float32 `[height, width]`.
    """
    along = ops.where(mask, 0.0, float(limit))
    for length in (1 << power for power in range(limit.bit_length())):
        along = ops.minimum(along, _nearest(along, 1, length, float(limit)) + length)
    largest = float(limit * limit)
    squared = nearest = ops.minimum(along * along, largest)
    for rows in range(1, limit):
        nearest = ops.minimum(nearest, _nearest(squared, 0, rows, largest) + float(rows * rows))
    return ops.sqrt(nearest)


def _nearest(values: Tensor, axis: int, offset: int, fill: float) -> Tensor:
    """Returns the smaller one of the values at the given offset in both directions; `fill` outside of the image."""
    border = [(offset, offset) if each == axis else (0, 0) for each in range(2)]
    padded = ops.pad(values, border, constant_values=fill)
    count = ops.shape(values)[axis]
    if axis == 0:
        return ops.minimum(padded[:count], padded[2 * offset :])
    return ops.minimum(padded[:, :count], padded[:, 2 * offset :])
