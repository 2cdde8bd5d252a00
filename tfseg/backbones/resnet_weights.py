"""Published ResNet weights in the layers of `Resnet`: Caffe's names, and biases in front of BatchNorm."""

from collections.abc import Mapping, Sequence
from string import ascii_lowercase

import numpy as np

from tfseg.backbones.batch_norm import split_folded
from tfseg.backbones.weights import Arrays

KERAS_EPSILON = 1.001e-5
"""Of the BatchNorms of `keras.applications`, whose convolutions have biases."""


def caffe_names(units: Sequence[int]) -> dict[str, str]:
    """The authors' layer names and ours. Their `bn…` holds the statistics and their `scale…` the factors of one `…_bn`.

    Long stages count `a, b1, b2, …` there, short ones and all of ResNet-50 `a, b, c, …`.

    Args:
        units: of the four stages, `(3, 4, 23, 3)` for ResNet-101.
    """
    names = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn", "scale_conv1": "conv1_bn"}
    lettered = max(units) <= 6
    for stage, count in enumerate(units, start=2):
        for unit in range(count):
            short = lettered or count == 3 or unit == 0
            theirs = f"{stage}{ascii_lowercase[unit] if short else f'b{unit}'}"
            for part, branch in enumerate(("1", "2a", "2b", "2c")):
                ours = f"conv{stage}_block{unit + 1}_{part}"
                names[f"res{theirs}_branch{branch}"] = f"{ours}_conv"
                names[f"bn{theirs}_branch{branch}"] = names[f"scale{theirs}_branch{branch}"] = f"{ours}_bn"
    return names


def caffe_renamed(layers: Arrays, units: Sequence[int]) -> Arrays:
    """`layers` under our names where they are under the authors'."""
    names = caffe_names(units)
    renamed: Arrays = {}
    for name, arrays in layers.items():
        renamed.setdefault(names.get(name, name), {}).update(arrays)
    return renamed


def without_biases(layers: Arrays, norms: Mapping[str, str], epsilon: float) -> tuple[Arrays, bool]:
    """Moves the biases of convolutions into the BatchNorms behind them, and says whether BatchNorm had been folded.

    `gamma (x + bias - mean) / sqrt(variance + 1.001e-5) + beta` is what `keras.applications` computes. Exactly that,
    without bias and with another `epsilon`, is the mean `mean - bias` and the variance `variance + 1.001e-5 - epsilon`;
    where that would be negative it is 0 and gamma makes up for it.

    Args:
        layers: as read; those of other nets are left alone.
        norms: the BatchNorm behind each convolution, by name.
        epsilon: of those BatchNorms in the model.
    """
    moved: Arrays = {name: dict(arrays) for name, arrays in layers.items()}
    for conv, norm in norms.items():
        if "bias" in moved.get(conv, {}) and "moving_mean" in moved.get(norm, {}):
            moved[norm] = _shifted(moved[norm], moved[conv].pop("bias"), epsilon)
    return split_folded(moved, norms, epsilon)


def _shifted(norm: Mapping[str, np.ndarray], bias: np.ndarray, epsilon: float) -> dict[str, np.ndarray]:
    published = norm["moving_variance"].astype(np.float64) + KERAS_EPSILON
    variance = np.maximum(published - epsilon, 0.0)
    gamma = norm["gamma"] * np.sqrt((variance + epsilon) / published)
    mean = norm["moving_mean"] - bias
    return {"gamma": gamma, "beta": norm["beta"], "moving_mean": mean, "moving_variance": variance}
