"""Validation of the arguments of a fully connected CRF, for the function and the layer."""

import operator
from typing import Any

import numpy as np

LARGEST_THETA_GAMMA = 1000
"""Maximum in pixels. The kernel of the spatial convolution is ten times as long."""
LARGEST_WEIGHT = 1_000_000
"""Maximum absolute value. Differences of logits are still representable in float32 at this magnitude."""


def check_thetas(theta_alpha: float, theta_beta: float, theta_gamma: float) -> None:
    """Raises ValueError unless all three standard deviations are valid."""
    for name, value in {"theta_alpha": theta_alpha, "theta_beta": theta_beta, "theta_gamma": theta_gamma}.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"`{name}` must be positive and finite. Received: {name}={value}")
    if theta_gamma > LARGEST_THETA_GAMMA:
        raise ValueError(
            f"`theta_gamma` must be at most {LARGEST_THETA_GAMMA} pixels, because computation time grows with it. "
            f"Received: theta_gamma={theta_gamma}"
        )


def check_weight(name: str, value: Any) -> None:
    """Raises ValueError unless a kernel weight is valid."""
    if not abs(value) <= LARGEST_WEIGHT:
        raise ValueError(f"`{name}` must be between -{LARGEST_WEIGHT} and {LARGEST_WEIGHT}. Received: {name}={value}")


def counted(name: str, value: Any) -> int:
    """Returns a positive number of iterations as a Python integer. Accepts integers of Python and NumPy."""
    try:
        count = 0 if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
    return count
