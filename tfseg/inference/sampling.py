"""Several passes of one network over one image: what they agree on, and how far they differ."""

from collections.abc import Iterable

import numpy as np


def mean_and_uncertainty(passes: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the passes, and their variance, averaged over classes.

    >>> sure, torn = np.array([[[1.0, 0.0]]]), np.array([[[0.0, 1.0]]])
    >>> mean, uncertainty = mean_and_uncertainty([sure, torn])
    >>> mean.tolist(), uncertainty.tolist()
    ([[[0.5, 0.5]]], [[0.25]])

    Args:
        passes: probabilities `[…, classes]`, one array for each pass; one is held at a time.

    Returns:
        float32 `[…, classes]` and `[…]`.

    Reference:
        Kendall, Badrinarayanan, Cipolla, "Bayesian SegNet", BMVC 2017, section 3; and
        the authors' `test_bayesian_segnet.py`.
    """
    total = squares = np.zeros(())
    count = 0
    for probabilities in passes:
        exact = probabilities.astype(np.float64)
        total, squares, count = total + exact, squares + exact**2, count + 1
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0)
    return mean.astype(np.float32), variance.mean(-1, dtype=np.float32)


def shade(uncertainty: np.ndarray, classes: int) -> np.ndarray:
    """`uncertainty` as uint16 gray. White is the most that `classes` allow: sure answers, divided evenly among them."""
    most = (1 - 1 / classes) / classes
    return np.rint(np.clip(uncertainty / most, 0, 1) * np.iinfo(np.uint16).max).astype(np.uint16)
