"""Class weights from how often the classes occur."""

from collections.abc import Callable
from typing import Literal

import numpy as np

Balance = Literal["inverse_frequency", "median_frequency"]
Counts = Callable[[], tuple[np.ndarray, np.ndarray]]
"""Counts classes in the training split, which takes as long as reading its masks: `pixels` and `image_pixels` of
`balanced`."""


def balanced(balance: Balance, pixels: np.ndarray, image_pixels: np.ndarray) -> tuple[float, ...]:
    """Class weights by how often the classes occur; a class that never does has weight 0.

    * `inverse_frequency`: `sum(pixels) / (classes that occur * pixels)`, so that each class weighs the same in the sum.
    * `median_frequency`: `median(f) / f` with `f = pixels / image_pixels`.

    Args:
        balance: which of the two.
        pixels: `[classes]`: the pixels of each class.
        image_pixels: `[classes]`: the pixels of the images in which the class occurs.

    Reference:
        Eigen and Fergus, Predicting Depth, Surface Normals and Semantic Labels (2015), section 6.3.2;
        Badrinarayanan, Kendall and Cipolla, SegNet (2017), section 3.1.
    """
    pixels, image_pixels = np.asarray(pixels, np.float64), np.asarray(image_pixels, np.float64)
    occurs = pixels > 0
    if not occurs.any():
        return (0.0,) * len(pixels)
    if balance == "inverse_frequency":
        frequency = pixels * occurs.sum() / pixels.sum()
        target = 1.0
    else:
        frequency = pixels / np.maximum(image_pixels, 1.0)
        target = float(np.median(frequency[occurs]))
    return tuple((np.where(occurs, target, 0.0) / np.where(occurs, frequency, 1.0)).tolist())
