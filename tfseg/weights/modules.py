"""The layers of a network that have weights, however deep they lie, by their paths."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import keras

CONVOLUTION_OF = ((r"bn_(.+)", r"\1"), (r"(.+)_bn", r"\1_conv"), (r"(.+)_(?:BN|bn|norm)", r"\1"))
"""Names of BatchNorms here, and the convolution that each stands behind."""


def uncounted(path: str) -> str:
    """The path of a variable; one without a name is counted by Keras from the start of the process, and not here.

    >>> uncounted("scale/variable_12")
    'scale/variable'
    """
    return re.sub(r"(?<=/)variable_\d+$", "variable", path)


@dataclass(frozen=True)
class Modules:
    """Layers with weights.

    Args:
        variables: the variables of each layer, by name, by the layer's path: `aspp/pointwise` lies in `aspp`.
        epsilons: what each layer adds to variances, by the name of the outermost layer around it.
    """

    variables: Mapping[str, Mapping[str, keras.Variable]]
    epsilons: Mapping[str, float]

    @classmethod
    def of(cls, model: keras.Model) -> Self:
        """Those of `model`, in its order."""
        found: dict[str, dict[str, keras.Variable]] = {}
        for variable in model.weights:
            path, _, name = uncounted(variable.path).rpartition("/")
            found.setdefault(path, {})[name] = variable
        return cls(found, {layer.name: layer.epsilon for layer in model.layers if hasattr(layer, "epsilon")})

    @cached_property
    def norms(self) -> dict[str, str]:
        """The convolution behind which each BatchNorm stands, where our names tell."""
        return {
            name: conv for name, own in self.variables.items() if "moving_mean" in own and (conv := self._before(name))
        }

    @cached_property
    def resnet_units(self) -> tuple[int, ...]:
        """How many units each stage of a ResNet has; nothing where this is none."""
        found = [re.fullmatch(r"conv(\d)_block\d+_1_conv", name) for name in self.variables]
        stages = [match[1] for match in found if match]
        return tuple(stages.count(stage) for stage in dict.fromkeys(stages))

    def epsilon(self, name: str) -> float:
        """What the BatchNorm `name` adds to variances."""
        return self.epsilons[name.partition("/")[0]]

    def _before(self, norm: str) -> str | None:
        folder, slash, last = norm.rpartition("/")
        for pattern, conv in CONVOLUTION_OF:
            match = re.fullmatch(pattern, last)
            if match and (found := f"{folder}{slash}{match.expand(conv)}") in self.variables:
                return found
        return None
