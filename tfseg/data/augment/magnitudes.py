"""Ops of RandAugment: fields of each op as functions of one magnitude from 0 to 1."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfseg.data.augment.clahe import Clahe
from tfseg.data.augment.colors import ColorJitter, Gamma
from tfseg.data.augment.geometry import Flip, Scale
from tfseg.data.augment.projection import Affine, Rotate
from tfseg.data.augment.quality import Blur


def _colors(
    *, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0, hue: float = 0.0
) -> ColorJitter:
    return ColorJitter(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)


def _moved(*, shear: float = 0.0, translate: float = 0.0) -> Affine:
    return Affine(scale=(1, 1), shear=shear, degrees=0, translate=translate)


def _unless_zero(make: Callable[[float], Any]) -> Callable[[float], Any]:
    """Returns a function that makes an op, or None, which is the identity, for the magnitude 0."""
    return lambda magnitude: make(magnitude) if magnitude else None


MAGNITUDES: dict[str, Callable[[float], Any]] = {
    "identity": lambda magnitude: None,
    "scale": lambda magnitude: Scale(min=1 / (1 + magnitude), max=1 + magnitude),
    "rotate": _unless_zero(lambda magnitude: Rotate(degrees=30 * magnitude)),
    "shear": _unless_zero(lambda magnitude: _moved(shear=float(np.degrees(np.arctan(0.3 * magnitude))))),
    "translate": _unless_zero(lambda magnitude: _moved(translate=0.3 * magnitude)),
    "flip": lambda magnitude: Flip(),
    "brightness": lambda magnitude: _colors(brightness=0.5 * magnitude),
    "contrast": lambda magnitude: _colors(contrast=0.9 * magnitude),
    "saturation": lambda magnitude: _colors(saturation=0.9 * magnitude),
    "hue": lambda magnitude: _colors(hue=0.5 * magnitude),
    "gamma": _unless_zero(lambda magnitude: Gamma(gamma=(1 / (1 + magnitude), 1 + magnitude))),
    "equalize": _unless_zero(lambda magnitude: Clahe(clip_limit=(1, 1 + 3 * magnitude), probability=1)),
    "blur": _unless_zero(lambda magnitude: Blur(sigma=(0.01, 2 * magnitude), probability=1)),
}
"""Function of each op that returns it for a magnitude, or None for the identity. One line adds an op. Rotation by 30
degrees, shear by 0.3 and relative changes of colors by 0.9 at the magnitude 1 are those of Cubuk et al. 2020."""
THREE_CHANNELS = frozenset({"saturation", "hue"})
"""Ops that require images with 3 channels."""
