"""The kernel that makes a convolution pass its input on."""

from collections.abc import Sequence

import numpy as np


def grouped_identity(shape: Sequence[int], groups: int) -> np.ndarray:
    """Which entries of a kernel join an input channel to the output channels of its group, at the centre tap.

    Input `a` of `m` and output `b` of `n` channels are of one group where `floor(a groups / m) = floor(b groups / n)`.

    >>> grouped_identity((1, 1, 2, 4), groups=2)[0, 0].astype(int).tolist()
    [[1, 1, 0, 0], [0, 0, 1, 1]]

    Args:
        shape: height, width, input channels, output channels.
        groups: in how many groups the channels fall, in their order.

    Returns:
        Booleans of that shape.

    Reference:
        Yu, Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016, equations 4 and 5.
    """
    height, width, inputs, outputs = shape
    mask = np.zeros(shape, bool)
    mask[height // 2, width // 2] = (
        np.arange(inputs)[:, None] * groups // inputs == np.arange(outputs) * groups // outputs
    )
    return mask
