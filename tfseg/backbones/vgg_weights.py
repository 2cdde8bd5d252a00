"""Weights of VGG16 the classifier as those of its convolutional forms."""

import keras
import numpy as np

from tfseg.backbones.weights import Arrays, WeightsReport, fill, layer_arrays

CONVS = tuple(f"conv{block + 1}_{conv + 1}" for block, count in enumerate((2, 2, 3, 3, 3)) for conv in range(count))


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

    Its `predictions` fill `score_fr` too where `model` scores as many classes.
    """
    return fill(model, vgg16_arrays(classifier), (*CONVS, "fc6", "fc7"), f"classifier {classifier.name!r}")
