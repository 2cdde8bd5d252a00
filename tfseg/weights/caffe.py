"""Layer names of the ResNets that their authors published for Caffe."""

import re
from collections.abc import Sequence
from string import ascii_lowercase

from tfseg.weights.modules import Modules
from tfseg.weights.naming import Naming
from tfseg.weights.own_names import KERAS_EPSILON

PATTERN = re.compile(r"(res|bn|scale)\d[a-z]\d*_branch")
"""Pattern that identifies these names."""


def caffe(modules: Modules) -> Naming:
    """Returns the Caffe names of `modules`. In Caffe, a BatchNorm is two layers: its statistics, and gamma and beta."""
    ours: dict[str, tuple[str, ...]] = {}
    for theirs, name in caffe_names(modules.resnet_units or (0,)).items():
        ours[name] = (*ours.get(name, ()), theirs)
    return Naming("Caffe ResNet names", ours, epsilon=KERAS_EPSILON)


def caffe_names(units: Sequence[int]) -> dict[str, str]:
    """Returns the authors' layer names, mapped to those of tfseg.

    The authors' `bn…` holds the statistics of one `…_bn`, and `scale…` its gamma and beta. Units are named
    `a, b, c, …` in ResNet-50 and in stages of 3 units, and `a, b1, b2, …` in the other stages.

    Args:
        units: Number of units of the four stages, `(3, 4, 23, 3)` for ResNet-101.
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
