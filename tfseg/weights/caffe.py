"""The names of the ResNets that their authors published for Caffe."""

import re
from collections.abc import Sequence
from string import ascii_lowercase

from tfseg.weights.modules import Modules
from tfseg.weights.naming import Naming
from tfseg.weights.own_names import KERAS_EPSILON

MARK = re.compile(r"(res|bn|scale)\d[a-z]\d*_branch")
"""How these names are known."""


def caffe(modules: Modules) -> Naming:
    """The names of Caffe for `modules`. The statistics and the factors of a BatchNorm are two layers there."""
    ours: dict[str, tuple[str, ...]] = {}
    for theirs, name in caffe_names(modules.resnet_units or (0,)).items():
        ours[name] = (*ours.get(name, ()), theirs)
    return Naming("names of Caffe's ResNets", ours, epsilon=KERAS_EPSILON)


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
