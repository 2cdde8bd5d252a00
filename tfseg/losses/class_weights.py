"""Class weights from class frequencies."""

from collections.abc import Callable
from typing import Literal

import numpy as np

Balance = Literal["inverse_frequency", "median_frequency"]
Counts = Callable[[], tuple[np.ndarray, np.ndarray]]
"""Reads all masks of the training split and returns the arguments `pixels` and `image_pixels` of `balanced`."""


def balanced(balance: Balance, pixels: np.ndarray, image_pixels: np.ndarray) -> tuple[float, ...]:
    """Computes class weights from class frequencies. A class without pixels has weight 0.

    * `inverse_frequency`: `sum(pixels) / (num_present_classes * pixels)`. The pixels of every class have the same
      total weight.
    * `median_frequency`: `median(f) / f` with `f = pixels / image_pixels` and the median over the classes with pixels.

    Args:
        balance: Either `"inverse_frequency"` or `"median_frequency"`.
        pixels: Array `[classes]`, number of pixels per class.
        image_pixels: Array `[classes]`, number of pixels of the images in which the class occurs.

    Returns:
        One weight per class.

    Reference:
        Eigen and Fergus, Predicting Depth, Surface Normals and Semantic Labels (2015), section 6.3.2;
        Badrinarayanan, Kendall and Cipolla, SegNet (2017), section 3.2.
    """
    pixels, image_pixels = np.asarray(pixels, np.float64), np.asarray(image_pixels, np.float64)
    present = pixels > 0
    if not present.any():
        return (0.0,) * len(pixels)
    if balance == "inverse_frequency":
        frequency = pixels * present.sum() / pixels.sum()
        target = 1.0
    else:
        frequency = pixels / np.maximum(image_pixels, 1.0)
        target = float(np.median(frequency[present]))
    return tuple((np.where(present, target, 0.0) / np.where(present, frequency, 1.0)).tolist())
