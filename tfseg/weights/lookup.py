"""Lookup of the arrays of a file for one layer of the network."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tfseg.weights.folding import absorb_bias, additive_batch_norm
from tfseg.weights.modules import Modules
from tfseg.weights.naming import Naming


@dataclass
class OperationWeights:
    """Arrays for the variables of a layer, as far as the file has them.

    Args:
        values: Arrays by the names of the variables.
        origins: Names of the arrays in the file, by the names of the variables.
        used: Names of all arrays of the file that were used.
        problem: Problem that the shapes do not show, or None.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    problem: str | None = None

    def take(self, naming: Naming, module: str, variable: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Returns the array of the file for that variable and marks it as used."""
        name = next((name for name in naming.candidates(module, variable) if name in arrays), None)
        if name is None:
            return None
        self.used.add(name)
        self.origins[variable] = name
        return arrays[name]


def weights_for(module: str, modules: Modules, naming: Naming, arrays: Mapping[str, np.ndarray]) -> OperationWeights:
    """Returns the arrays of the file for `module`, converted to the shapes of its variables where possible."""
    found = OperationWeights()
    for name, variable in modules.variables[module].items():
        if (array := found.take(naming, module, name, arrays)) is not None:
            shape = tuple(variable.shape)
            found.values[name] = naming.fit(module, name, undilated(array, shape), shape)
    means = naming.candidates(module, "moving_mean")
    if "gamma" in found.values and "moving_mean" not in modules.variables[module] and arrays.keys() & set(means):
        found.problem = "the file has batch normalization, but the network does not"
    if module in modules.norms:
        _take_bias(found, module, modules, naming, arrays)
    return found


def _take_bias(
    found: OperationWeights, norm: str, modules: Modules, naming: Naming, arrays: Mapping[str, np.ndarray]
) -> None:
    """Adds the bias of the convolution before a BatchNorm to the BatchNorm, if only the file has a bias."""
    conv, epsilon = modules.norms[norm], modules.epsilon(norm)
    bias = None if "bias" in modules.variables[conv] else found.take(naming, conv, "bias", arrays)
    if bias is None:
        return
    if "moving_mean" in found.values:
        found.values = absorb_bias(found.values, bias, epsilon, naming.epsilon or epsilon)
    else:
        found.values = additive_batch_norm(bias, epsilon)


def undilated(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Removes the zeros of a kernel that was dilated with zeros, if the result has that shape.

    >>> undilated(np.array([1, 0, 2, 0, 3]).reshape(1, 5, 1, 1), (1, 3, 1, 1)).ravel()
    array([1, 2, 3])
    """
    if kernel.ndim != 4 or len(shape) != 4 or kernel.shape[2:] != shape[2:]:
        return kernel
    steps = [_step(have, wanted) for have, wanted in zip(kernel.shape[:2], shape[:2], strict=True)]
    taps = kernel[:: steps[0], :: steps[1]]
    return taps if taps.shape == shape and np.count_nonzero(taps) == np.count_nonzero(kernel) else kernel


def _step(have: int, wanted: int) -> int:
    return max(1, (have - 1) // (wanted - 1) if wanted > 1 else have)
