"""Weights of VGG16 the classifier as those of its convolutional forms."""

import re

import numpy as np

from tfseg.weights.modules import Modules
from tfseg.weights.naming import Naming, translated

MARK = re.compile(r"block\d_conv\d/")
"""How the names of `keras.applications.VGG16` are known."""
TABLE = ((r"conv(\d)_(\d)", r"block\1_conv\2"), (r"score_fr", r"predictions"))
CONVOLUTIONS = {"fc6": "fc1", "fc7": "fc2"}
"""The convolutions that were fully connected layers, and those."""
SEEDS = {"fc6": 6, "fc7": 7}
"""Of the choice of filters where a net has fewer: whoever decimates gets the same ones."""


def vgg16(modules: Modules) -> Naming:
    """The names of `keras.applications.VGG16` for `modules`.

    `fc1` reads the flattened 7x7 map, so its matrix is the 7x7 kernel of `fc6`; `fc2` is the 1x1 kernel of `fc7`.
    The classifier's `predictions` are `score_fr`, which only fits a net of its classes.
    """
    plain = {name: (theirs,) for name, theirs in translated(modules.variables, TABLE).items()}
    dense = {name: tuple(CONVOLUTIONS[each] for each in fully_connected(name)) for name in modules.variables}
    return Naming("names of keras.applications' VGG16", dense | plain, {}, decimated)


def is_vgg16(module: str) -> bool:
    """Whether the layer is one of VGG16: a convolution, `fc6` or `fc7`."""
    return re.fullmatch(r"conv\d_\d|fc[67]", module) is not None


def fully_connected(module: str) -> tuple[str, ...]:
    """`fc6` or `fc7` for that layer and for the branches `fc6_1`, `fc6_2` … of a classifier; nothing for others."""
    match = re.fullmatch(r"(?:.*/)?(fc[67])(?:_\d+)?", module)
    return (match[1],) if match else ()


def decimated(module: str, variable: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array as a convolution has it; of `fc6`, `fc7` and their branches the part that has that shape.

    Of 7 taps, 4 or 3 are those at equal distances from the first to the last. Fewer filters are a random choice, the
    same at every call and in every branch; `fc7` reads those that were chosen of `fc6`. Where the array is too small,
    as much of it as there is.

    Reference:
        Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015,
        section 4.1.
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
