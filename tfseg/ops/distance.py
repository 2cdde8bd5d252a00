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
    height, width = ops.shape(mask)
    along = ops.where(mask, 0.0, float(limit))
    for length in (1 << power for power in range(limit.bit_length())):
        padded = ops.pad(along, [(0, 0), (length, length)], constant_values=float(limit))
        along = ops.minimum(along, ops.minimum(padded[:, :width], padded[:, 2 * length :]) + float(length))
    along = ops.minimum(along, float(limit))
    padded = ops.pad(along * along, [(limit, limit), (0, 0)], constant_values=float(limit * limit))
    nearest = along * along
    for rows in range(1, limit):
        above, below = padded[limit - rows :][:height], padded[limit + rows :][:height]
        nearest = ops.minimum(nearest, ops.minimum(above, below) + float(rows * rows))
    return ops.sqrt(nearest)
