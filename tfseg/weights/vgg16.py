"""Weights of the VGG16 classifier for its convolutional forms."""

import re

import numpy as np

from tfseg.weights.modules import Modules
from tfseg.weights.naming import Naming, translated

PATTERN = re.compile(r"block\d_conv\d/")
"""Pattern that identifies the names of `keras.applications.VGG16`."""
TABLE = ((r"conv(\d)_(\d)", r"block\1_conv\2"), (r"score_fr", r"predictions"))
CONVOLUTIONS = {"fc6": "fc1", "fc7": "fc2"}
"""Convolutions and the fully connected layers that they are converted from."""
SEEDS = {"fc6": 6, "fc7": 7}
"""Seeds of the random choice of filters, so that it is reproducible."""


def vgg16(modules: Modules) -> Naming:
    """Returns the names of `modules` in `keras.applications.VGG16`.

    The input of `fc1` is the flattened 7x7 feature map, so the matrix of `fc1` is reshaped to the 7x7 kernel of `fc6`,
    and that of `fc2` to the 1x1 kernel of `fc7`. `predictions` is `score_fr`, if the number of classes is the same.
    """
    plain = {name: (theirs,) for name, theirs in translated(modules.variables, TABLE).items()}
    dense = {name: tuple(CONVOLUTIONS[each] for each in fully_connected(name)) for name in modules.variables}
    return Naming("keras.applications VGG16 names", dense | plain, {}, decimated)


def is_vgg16(module: str) -> bool:
    """Returns whether the layer belongs to VGG16: a convolution, `fc6` or `fc7`."""
    return re.fullmatch(r"conv\d_\d|fc[67]", module) is not None


def fully_connected(module: str) -> tuple[str, ...]:
    """Returns `fc6` or `fc7` for these layers and for the branches `fc6_1`, `fc6_2`, …; empty for others."""
    match = re.fullmatch(r"(?:.*/)?(fc[67])(?:_\d+)?", module)
    return (match[1],) if match else ()


def decimated(module: str, variable: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Converts an array to the layout of a convolution, and reduces `fc6`, `fc7` and their branches to `shape`.

    From 7 taps, 4 or 3 are taken at equal distances, including the first and the last. Fewer filters are chosen at
    random, the same ones at every call and in every branch; the input channels of `fc7` are the filters chosen for
    `fc6`. Along axes where the array is smaller than `shape`, it is unchanged.

    Args:
        module: Path of the layer.
        variable: Name of the variable, `kernel` or `bias`.
        array: Array of the file.
        shape: Shape of the variable.

    Reference:
        Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015,
        section 3.2.
    """
    name = "".join(fully_connected(module))
    if variable == "kernel" and array.ndim == 2 and len(shape) == 4:
        array = _as_kernel(array, 7 if name == "fc6" else 1)
    if not name or array.ndim != len(shape):
        return array
    if variable == "bias":
        return array[_filters(name, array.shape[0], shape[0])]
    inputs = _filters("fc6", array.shape[2], shape[2]) if name == "fc7" else np.arange(array.shape[2])
    rows, columns = (_taps(have, wanted) for have, wanted in zip(array.shape[:2], shape[:2], strict=True))
    return array[np.ix_(rows, columns, inputs, _filters(name, array.shape[3], shape[3]))]


def _as_kernel(matrix: np.ndarray, size: int) -> np.ndarray:
    inputs, outputs = matrix.shape
    if inputs % size**2:
        return matrix
    return matrix.reshape(size, size, inputs // size**2, outputs)


def _filters(name: str, have: int, wanted: int) -> np.ndarray:
    if wanted >= have:
        return np.arange(have)
    return np.sort(np.random.default_rng(SEEDS[name]).choice(have, wanted, replace=False))


def _taps(have: int, wanted: int) -> np.ndarray:
    return np.arange(have) if wanted >= have else np.round(np.linspace(0, have - 1, wanted)).astype(int)
