"""Layers of a network that have weights, nested ones included, by path."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import keras

CONVOLUTION_OF = ((r"bn_(.+)", r"\1"), (r"(.+)_bn", r"\1_conv"), (r"(.+)_(?:BN|bn|norm)", r"\1"))
"""Name patterns of BatchNorms, and of the convolution before each."""


def without_counter(path: str) -> str:
    """Returns the path of a variable without the process-wide counter that Keras adds to unnamed variables.

    >>> without_counter("scale/variable_12")
    'scale/variable'
    """
    return re.sub(r"(?<=/)variable_\d+$", "variable", path)


@dataclass(frozen=True)
class Modules:
    """Layers with weights.

    Args:
        variables: Mapping from the path of each layer, such as `aspp/pointwise` for the layer `pointwise` in `aspp`, to
            the variables of the layer by name.
        epsilons: Epsilon of the normalization layers, by the name of the outermost layer around them.
    """

    variables: Mapping[str, Mapping[str, keras.Variable]]
    epsilons: Mapping[str, float]

    @classmethod
    def of(cls, model: keras.Model) -> Self:
        """Returns the layers with weights of `model`, in its order."""
        found: dict[str, dict[str, keras.Variable]] = {}
        for variable in model.weights:
            path, _, name = without_counter(variable.path).rpartition("/")
            found.setdefault(path, {})[name] = variable
        return cls(found, {layer.name: layer.epsilon for layer in model.layers if hasattr(layer, "epsilon")})

    @cached_property
    def norms(self) -> dict[str, str]:
        """Names of BatchNorms, mapped to the convolution before each."""
        return {
            name: conv for name, own in self.variables.items() if "moving_mean" in own and (conv := self._before(name))
        }

    @cached_property
    def resnet_units(self) -> tuple[int, ...]:
        """Number of residual units in each stage of a ResNet. Empty for other networks."""
        found = [re.fullmatch(r"conv(\d)_block\d+_1_conv", name) for name in self.variables]
        stages = [match[1] for match in found if match]
        return tuple(stages.count(stage) for stage in dict.fromkeys(stages))

    def epsilon(self, name: str) -> float:
        """Returns the epsilon of the BatchNorm `name`."""
        return self.epsilons[name.partition("/")[0]]

    def _before(self, norm: str) -> str | None:
        folder, slash, last = norm.rpartition("/")
        for pattern, conv in CONVOLUTION_OF:
            match = re.fullmatch(pattern, last)
            if match and (found := f"{folder}{slash}{match.expand(conv)}") in self.variables:
                return found
        return None
