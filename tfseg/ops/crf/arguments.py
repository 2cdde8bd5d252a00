"""Checks of what a fully connected CRF is told, by a function or by a layer."""

import operator
from typing import Any

import numpy as np

LARGEST_THETA_GAMMA = 1000
"""The spatial kernel is a convolution over ten times as many pixels."""
LARGEST_WEIGHT = 1_000_000
"""Sums of so much leave float32 room for a difference."""


def check_thetas(theta_alpha: float, theta_beta: float, theta_gamma: float) -> None:
    """Raises ValueError unless the three are standard deviations."""
    for name, value in {"theta_alpha": theta_alpha, "theta_beta": theta_beta, "theta_gamma": theta_gamma}.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"`{name}` must be greater than zero, and finite. Received: {name}={value}")
    if theta_gamma > LARGEST_THETA_GAMMA:
        raise ValueError(
            f"`theta_gamma` must be at most {LARGEST_THETA_GAMMA} pixels: time grows with it. Received: "
            f"theta_gamma={theta_gamma}"
        )


def check_weight(name: str, value: Any) -> None:
    """Raises ValueError unless a number is a weight."""
    if not abs(value) <= LARGEST_WEIGHT:
        raise ValueError(f"`{name}` must lie within {LARGEST_WEIGHT} of zero. Received: {name}={value}")


def counted(name: str, value: Any) -> int:
    """A positive number of iterations: an integer, be it Python's or NumPy's."""
    try:
        count = 0 if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
    return count
