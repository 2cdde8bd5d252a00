"""Reference implementations of convolution and interpolation as explicit loops."""

from collections.abc import Sequence

import numpy as np


def convolved(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | float = 0.0,
    rate: int = 1,
    padding: int | None = None,
    stride: int = 1,
) -> np.ndarray:
    """Computes the cross-correlation of `[batch, height, width, channels]` in float64, zero-padded to equal size."""
    rows, columns, *_ = kernel.shape
    borders = [(rate * (n - 1) // 2 if padding is None else padding,) * 2 for n in (rows, columns)]
    padded = np.pad(x.astype("float64"), [(0, 0), *borders, (0, 0)])
    height, width = (
        (n - rate * (k - 1) - 1) // stride + 1 for n, k in zip(padded.shape[1:3], (rows, columns), strict=True)
    )
    result = np.zeros((x.shape[0], height, width, kernel.shape[3]))
    for i in range(height):
        for j in range(width):
            for a in range(rows):
                for b in range(columns):
                    result[:, i, j] += padded[:, i * stride + a * rate, j * stride + b * rate] @ kernel[a, b]
    return result + bias


def interpolated(x: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Interpolates bilinearly with aligned corners: output position `i` lies at `i (in - 1) / (out - 1)` of `x`."""
    result = np.zeros((x.shape[0], *size, x.shape[3]))
    for i in range(size[0]):
        for j in range(size[1]):
            y, z = (p * (n - 1) / max(m - 1, 1) for p, n, m in zip((i, j), x.shape[1:3], size, strict=True))
            for a in (0, 1):
                for b in (0, 1):
                    row, column = int(y) + a, int(z) + b
                    share = (1 - abs(y - row)) * (1 - abs(z - column))
                    if share > 0:
                        result[:, i, j] += share * x[:, row, column]
    return result


def normalized(x: np.ndarray, weights: Sequence[np.ndarray], epsilon: float) -> np.ndarray:
    """Applies BatchNorm in inference mode; `weights` are gamma, beta, mean and variance."""
    gamma, beta, mean, variance = weights
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)
