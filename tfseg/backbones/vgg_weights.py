"""Weights of VGG16 the classifier as those of its convolutional forms."""

import re

import keras
import numpy as np

from tfseg.backbones.weights import Arrays, WeightsReport, fill, layer_arrays, variables

CONVS = tuple(f"conv{block + 1}_{conv + 1}" for block, count in enumerate((2, 2, 3, 3, 3)) for conv in range(count))
SEEDS = {"fc6": 6, "fc7": 7}
"""Of the choice of filters where a net has fewer: whoever decimates gets the same ones."""


def vgg16_arrays(classifier: keras.Model) -> Arrays:
    """The weights of a `keras.applications.VGG16` classifier under the names and in the shapes of the convolutions.

    `fc1` reads the flattened 7x7 map, so its matrix is the 7x7 kernel of `fc6`; `fc2` is the 1x1 kernel of `fc7`.
    The classifier's `predictions` become `score_fr`, which only fits a net of its classes.
    """
    layers = layer_arrays(classifier)
    names = {f"block{name[4]}_conv{name[6]}": name for name in CONVS}
    arrays = {ours: layers[theirs] for theirs, ours in names.items()}
    for theirs, ours, size in (("fc1", "fc6", 7), ("fc2", "fc7", 1), ("predictions", "score_fr", 1)):
        arrays[ours] = {"kernel": _as_kernel(layers[theirs]["kernel"], size), "bias": layers[theirs]["bias"]}
    return arrays


def _as_kernel(matrix: np.ndarray, size: int) -> np.ndarray:
    inputs, outputs = matrix.shape
    return matrix.reshape(size, size, inputs // size**2, outputs)


def convert_vgg16(classifier: keras.Model, model: keras.Model) -> WeightsReport:
    """Fills the VGG16 layers of `model` from a `keras.applications.VGG16(include_top=True)`.

    Its `predictions` fill `score_fr` too where `model` scores as many classes. Where `fc6` and `fc7` are smaller, or
    are branches of a classifier, they are filled with a choice of the taps and filters: see `decimated`.
    """
    required = (*CONVS, *(name for name in ("fc6", "fc7") if name in variables(model)))
    return fill(model, decimated(vgg16_arrays(classifier), model), required, f"classifier {classifier.name!r}")


def decimated(arrays: Arrays, model: keras.Model) -> Arrays:
    """`arrays` with `fc6` and `fc7` as small as those of `model`, and once for each of its branches `fc6_1`, `fc6_2` …

    Of 7 taps, 4 or 3 are those at equal distances from the first to the last. Fewer filters are a random choice, the
    same at every call and in every branch; `fc7` reads those that were chosen of `fc6`.

    Reference:
        Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015,
        section 4.1.
    """
    held = variables(model)
    result = dict(arrays)
    for name in held:
        source = name[:3]
        known = re.fullmatch(r"fc[67](_\d+)?", name) and (name == source or name not in arrays)
        if known and {"kernel", "bias"} <= arrays.get(source, {}).keys() and "kernel" in held[name]:
            result[name] = _chosen(arrays, source, tuple(held[name]["kernel"].shape))
    return result


def _chosen(arrays: Arrays, name: str, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The part of `fc6` or `fc7` that has that shape; as much of it as there is where it is too small."""
    kernel, bias = arrays[name]["kernel"], arrays[name]["bias"]
    inputs = _filters("fc6", kernel.shape[2], shape[2]) if name == "fc7" else np.arange(kernel.shape[2])
    outputs = _filters(name, kernel.shape[3], shape[3])
    rows, columns = (_taps(have, wanted) for have, wanted in zip(kernel.shape[:2], shape[:2], strict=True))
    return {"kernel": kernel[np.ix_(rows, columns, inputs, outputs)], "bias": bias[outputs]}


def _filters(name: str, have: int, wanted: int) -> np.ndarray:
    if wanted >= have:
        return np.arange(have)
    return np.sort(np.random.default_rng(SEEDS[name]).choice(have, wanted, replace=False))


def _taps(have: int, wanted: int) -> np.ndarray:
    return np.arange(have) if wanted >= have else np.round(np.linspace(0, have - 1, wanted)).astype(int)
