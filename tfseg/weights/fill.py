"""Arrays from a file into the variables of a network: all that is required, or nothing."""

from collections.abc import Collection, Mapping

import keras
import numpy as np

from tfseg.errors import WeightsError
from tfseg.weights.folding import only_adds
from tfseg.weights.lookup import OperationWeights, weights_for
from tfseg.weights.modules import Modules, uncounted
from tfseg.weights.naming import Naming
from tfseg.weights.pixels import as_the_network_reads
from tfseg.weights.readers import Arrays
from tfseg.weights.report import WeightsReport, listed, scopes
from tfseg.weights.schemes import naming_of

WHOLE = "Nothing was written. Give weights of this very network, or change the pipeline to the file's network."
PART = "Nothing was changed. Give weights of this very backbone, or start without."
SHOWN = 8
"""Lines about layers that do not match, before the rest is counted."""


def fill(
    model: keras.Model,
    arrays: Arrays,
    source: str,
    *,
    required: Collection[str] = (),
    whole: bool = True,
    classes: int | None = None,
) -> WeightsReport:
    """Puts `arrays` into the network.

    The layers in `required` must all be filled, as far as the network has them. Without any, every layer must be.

    Args:
        model: a Functional model whose layers are named as tfseg names them.
        arrays: what `read_arrays` found: under one of the namings of `naming_of`.
        source: what to call the file in messages.
        required: names of the layers that the file must fill, such as those of the backbone.
        whole: whether the other layers must be filled too where the file has anything for one of them; else they keep
            their initial weights, as the decoder does when a classifier is imported. False: each that fits is filled,
            and the others are left alone, as a score layer of other classes.
        classes: how many classes the network scores, to say so when the file has another number.

    Raises:
        WeightsError: a layer that must be filled is missing in the file, or has another shape. Nothing was changed.
    """
    modules, arrays = Modules.of(model), {uncounted(name): array for name, array in arrays.items()}
    naming = naming_of(arrays, modules)
    found = {name: weights_for(name, modules, naming, arrays) for name in modules.variables}
    as_the_network_reads(model, found, arrays)
    needed = _needed(modules, found, required, whole)
    told = {name: _fault(name, each, modules, naming, name in needed, classes) for name, each in found.items()}
    faults = {name: text for name, text in told.items() if text is not None}
    filled = {name: each for name, each in found.items() if each.values and name not in faults}
    unused = _unused(arrays, filled.values() if not whole else found.values())
    if refused := [f"{name}: {text}" for name, text in faults.items() if whole or name in needed]:
        ending = WHOLE if whole else PART
        raise WeightsError(_refusal(source, naming, len(modules.variables), refused, unused, ending))
    for name, each in filled.items():
        for variable, value in each.values.items():
            modules.variables[name][variable].assign(value)
    return WeightsReport(
        source,
        naming.title,
        filled=tuple(filled),
        initial=tuple(name for name in modules.variables if name not in filled),
        unused=unused,
        folded=tuple(name for name in filled if _adds(name, filled[name].values, modules)),
    )


def _needed(
    modules: Modules, found: Mapping[str, OperationWeights], required: Collection[str], whole: bool
) -> set[str]:
    """The layers that must be filled."""
    inside = {name for name in modules.variables if name.partition("/")[0] in required}
    outside = modules.variables.keys() - inside
    more = not inside or (whole and any(found[name].values for name in outside))
    return inside | (outside if more else set())


def _fault(
    name: str, found: OperationWeights, modules: Modules, naming: Naming, needed: bool, classes: int | None
) -> str | None:
    """Why that layer cannot be filled, or None."""
    variables = modules.variables[name]
    missing = [each for each in variables if each not in found.values]
    if missing and (needed or found.values):
        expected = " or ".join(naming.candidates(name, missing[0]))
        return f"not in the file; expected {expected}" if expected else f"{naming.title} have no word for it"
    for variable, value in found.values.items():
        ours, theirs = tuple(variables[variable].shape), tuple(value.shape)
        if ours != theirs:
            return _misfit(variable, ours, theirs, found.origins.get(variable, "the bias"), classes)
        if wrong := _no_weights(variable, value):
            return f"{found.origins.get(variable, 'the bias')} {wrong}"
    return found.fault


def _no_weights(variable: str, value: np.ndarray) -> str | None:
    """Why numbers of the right shape are no weights, or None."""
    if not np.issubdtype(value.dtype, np.floating) and value.dtype not in (np.int32, np.int64):  # NumPy's own ints
        return f"holds {value.dtype}, and weights are floating-point numbers"
    with np.errstate(over="ignore"):
        if not np.isfinite(value.astype(np.float32)).all():
            return "holds numbers that are not finite in float32"
    return "is negative, and a variance cannot be" if variable == "moving_variance" and value.min() < 0 else None


def _misfit(name: str, ours: tuple[int, ...], theirs: tuple[int, ...], origin: str, classes: int | None) -> str:
    if ours[-1] == classes and ours[:-1] == theirs[:-1]:
        return f"the file scores {theirs[-1]} classes ({origin}), the labels of the pipeline are {classes}"
    return f"{origin} is {theirs} in the file, {name} is {ours} in the network"


def _adds(name: str, values: Mapping[str, np.ndarray], modules: Modules) -> bool:
    """Whether the layer is now a BatchNorm that only adds a folded bias."""
    if not {"moving_mean", "moving_variance"} <= values.keys():
        return False
    return only_adds(values["moving_mean"], values["moving_variance"], modules.epsilon(name))


def _unused(arrays: Arrays, found: Collection[OperationWeights]) -> tuple[str, ...]:
    """The arrays that went nowhere. A bias of zeros, as converters give every convolution, says nothing."""
    used = {name for each in found for name in each.used}
    return tuple(
        name for name, array in arrays.items() if name not in used and (not name.endswith("/bias") or np.any(array))
    )


def _refusal(source: str, naming: Naming, total: int, faults: list[str], unused: tuple[str, ...], ending: str) -> str:
    more = [f"… and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    return "\n  ".join(
        [
            f"{source}: read by {naming.title}, does not fill {len(faults)} of the network's {total} "
            "layers with weights:",
            *faults[:SHOWN],
            *more,
            f"left over in the file: {listed(scopes(unused))}",
            ending,
        ]
    )
