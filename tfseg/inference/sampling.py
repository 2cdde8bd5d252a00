"""Mean and uncertainty of Monte Carlo dropout samples."""

from collections.abc import Iterable

import numpy as np


def mean_and_uncertainty(passes: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Computes the mean of the passes and their variance, averaged over classes.

    >>> first, second = np.array([[[1.0, 0.0]]]), np.array([[[0.0, 1.0]]])
    >>> mean, uncertainty = mean_and_uncertainty([first, second])
    >>> mean.tolist(), uncertainty.tolist()
    ([[[0.5, 0.5]]], [[0.25]])

    Args:
        passes: Iterable of probabilities `[..., classes]`, one array per pass. One is in memory at a time.

    Returns:
        Float32 arrays `[..., classes]` and `[...]`.

    Reference:
        Kendall, Badrinarayanan, Cipolla, "Bayesian SegNet", BMVC 2017; and
        the authors' `test_bayesian_segnet.py`.
    """
    total = squares = np.zeros(())
    count = 0
    for probabilities in passes:
        values = probabilities.astype(np.float64)
        total, squares, count = total + values, squares + values**2, count + 1
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0)
    return mean.astype(np.float32), variance.mean(-1, dtype=np.float32)


def shade(uncertainty: np.ndarray, classes: int) -> np.ndarray:
    """Scales `uncertainty` to uint16 gray. White is the maximum: one-hot passes, spread evenly over the classes."""
    maximum = (1 - 1 / classes) / classes
    return np.rint(np.clip(uncertainty / maximum, 0, 1) * np.iinfo(np.uint16).max).astype(np.uint16)
