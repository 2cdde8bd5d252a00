"""Initial kernels: bilinear upsampling and the grouped identity."""

from collections.abc import Sequence

import numpy as np


def bilinear_taps(size: int) -> np.ndarray:
    """Returns the one-dimensional bilinear kernel, float32 `[size]`.

    `w(i) = 1 - |i - center| / f` with `f = ceil(size / 2)` and `center = (size - 1) / 2`.

    >>> bilinear_taps(4).tolist()
    [0.25, 0.75, 0.75, 0.25]

    Reference:
        `upsample_filt` in `surgery.py` of the released FCN code. Caffe's `BilinearFiller` differs for some sizes.
    """
    factor = (size + 1) // 2
    center = factor - 1 if size % 2 else factor - 0.5
    return (1 - np.abs(np.arange(size) - center) / factor).astype(np.float32)


def bilinear_kernel(kernel_size: int | tuple[int, int], filters: int) -> np.ndarray:
    """Returns the kernel of a transposed convolution that upsamples each channel by bilinear interpolation.

    The kernel is zero between different channels. Its layout is that of `keras.layers.Conv2DTranspose`:
    `[height, width, filters, filters]`, float32.

    >>> bilinear_kernel(3, filters=2)[:, :, 1, 1].tolist()
    [[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]]

    Args:
        kernel_size: Integer or pair of integers, height and width of the kernel.
        filters: Number of input and output channels.
    """
    height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    plane = np.outer(bilinear_taps(height), bilinear_taps(width))
    return plane[:, :, None, None] * np.eye(filters, dtype=np.float32)


def grouped_identity(shape: Sequence[int], groups: int) -> np.ndarray:
    """Marks the entries of a kernel that connect channels of the same group at the center tap.

    Input channel `a` of `m` and output channel `b` of `n` are in the same group if
    `floor(a groups / m) = floor(b groups / n)`.

    >>> grouped_identity((1, 1, 2, 4), groups=2)[0, 0].astype(int).tolist()
    [[1, 1, 0, 0], [0, 0, 1, 1]]

    Args:
        shape: Shape of the kernel: `[height, width, channels, filters]`.
        groups: Number of groups of consecutive channels.

    Returns:
        Boolean array of that shape.

    Reference:
        Yu, Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016, equations 4 and 5.
    """
    height, width, inputs, outputs = shape
    mask = np.zeros(shape, bool)
    mask[height // 2, width // 2] = (
        np.arange(inputs)[:, None] * groups // inputs == np.arange(outputs) * groups // outputs
    )
    return mask
