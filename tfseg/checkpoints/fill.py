"""Arrays from a file into the variables of a network: all that is required, or nothing."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from tfseg.backbones.batch_norm import split_folded
from tfseg.checkpoints.model_garden import MARK as MODEL_GARDEN
from tfseg.checkpoints.model_garden import model_garden
from tfseg.checkpoints.naming import Naming
from tfseg.checkpoints.readers import Arrays
from tfseg.checkpoints.report import ImportReport, listed, scopes
from tfseg.checkpoints.slim import MARK as SLIM
from tfseg.checkpoints.slim import slim
from tfseg.checkpoints.variables import Modules
from tfseg.errors import WeightsError

SHOWN = 8
"""Lines about layers that do not match, before the rest is counted."""


def fill_from(
    model: keras.Model, arrays: Arrays, source: str, *, backbone: Collection[str] = (), classes: int | None = None
) -> ImportReport:
    """Puts `arrays` into the network.

    The layers in `backbone` must all be filled. The others must too where the file has anything for one of them; else
    they keep their initial weights, as the decoder does when a classifier is imported. Without `backbone` every layer
    must be filled.

    Args:
        model: a Functional model whose layers are named as tfseg names them.
        arrays: what `read_arrays` found: under the names of TF-slim or Model Garden, or under this network's own, which
            are also those of `keras.applications`.
        source: what to call the file in messages.
        backbone: names of the layers that the file must fill.
        classes: how many classes the network scores, to say so when the file has another number.

    Raises:
        WeightsError: a layer that must be filled is missing in the file, or has another shape. Nothing was changed.
    """
    modules = Modules.of(model)
    naming = naming_of(arrays, modules)
    match = _matched(modules, naming, arrays)
    required = _required(modules, match, backbone)
    if problems := list(_problems(modules, naming, match, required, classes)):
        raise WeightsError(_refusal(source, naming, modules, match, problems, arrays))
    for module, values in match.values.items():
        for name, value in values.items():
            modules.variables[module][name].assign(value)
    return ImportReport(
        source,
        naming.title,
        filled=tuple(match.values),
        initial=tuple(name for name in modules.variables if name not in match.values),
        unused=tuple(name for name in arrays if name not in match.used),
        folded=tuple(match.folded),
    )


def naming_of(arrays: Collection[str], modules: Modules) -> Naming:
    """The naming that the file uses, known by its marks."""
    if any(MODEL_GARDEN.match(name) for name in arrays):
        return model_garden(modules)
    if any(SLIM.match(name) for name in arrays):
        return slim(modules)
    return Naming("the network's own names", {name: name for name in modules.variables})


@dataclass
class _Match:
    """What the file has for each layer: all variables, or those that were found of them."""

    values: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    origin: dict[tuple[str, str], str] = field(default_factory=dict)
    folded: list[str] = field(default_factory=list)

    def take(self, naming: Naming, module: str, variable: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """The array for that variable, marked as used."""
        name = next((name for name in naming.candidates(module, variable) if name in arrays), None)
        if name is None:
            return None
        self.used.add(name)
        self.origin[module, variable] = name
        return arrays[name]


def _matched(modules: Modules, naming: Naming, arrays: Arrays) -> _Match:
    match = _Match()
    for module, variables in modules.variables.items():
        found = {name: match.take(naming, module, name, arrays) for name in variables}
        values = {name: value for name, value in found.items() if value is not None}
        if module in modules.norms:
            values = _with_bias(modules, naming, module, values, match, arrays)
        if values:
            match.values[module] = values
    return match


def _with_bias(
    modules: Modules, naming: Naming, norm: str, values: dict[str, np.ndarray], match: _Match, arrays: Arrays
) -> dict[str, np.ndarray]:
    """The values of a BatchNorm, the bias of the convolution before it included where only the file has one."""
    conv = modules.norms[norm]
    bias = None if "bias" in modules.variables[conv] else match.take(naming, conv, "bias", arrays)
    if bias is None:
        return values
    if "moving_mean" in values:  # x + bias - mean
        return {**values, "moving_mean": values["moving_mean"] - bias}
    match.folded.append(norm)
    adding, _ = split_folded({conv: {"bias": bias}}, {conv: norm}, modules.epsilon(norm))
    return adding[norm]


def _required(modules: Modules, match: _Match, backbone: Collection[str]) -> list[str]:
    inside = [name for name in modules.variables if name.partition("/")[0] in backbone]
    outside = [name for name in modules.variables if name not in inside]
    return inside + (outside if not inside or any(name in match.values for name in outside) else [])


def _problems(
    modules: Modules, naming: Naming, match: _Match, required: list[str], classes: int | None
) -> Iterator[str]:
    """A line for each layer that cannot be filled."""
    for module, variables in modules.variables.items():
        values = match.values.get(module, {})
        missing = [name for name in variables if name not in values]
        if missing and (module in required or values):
            expected = " or ".join(naming.candidates(module, missing[0])) or f"{naming.title} have no word for it"
            yield f"{module}: not in the file; expected {expected}"
            continue
        for name, value in values.items():
            ours, theirs = tuple(variables[name].shape), tuple(value.shape)
            if ours != theirs:
                yield _misfit(module, name, ours, theirs, match.origin.get((module, name), "the bias"), classes)
                break


def _misfit(
    module: str, name: str, ours: tuple[int, ...], theirs: tuple[int, ...], origin: str, classes: int | None
) -> str:
    if ours[-1] == classes and ours[:-1] == theirs[:-1]:
        return f"{module}: the file scores {theirs[-1]} classes ({origin}), the labels of the pipeline are {classes}"
    return f"{module}: {origin} is {theirs} in the file, {name} is {ours} in the network"


def _refusal(source: str, naming: Naming, modules: Modules, match: _Match, problems: list[str], arrays: Arrays) -> str:
    more = [f"… and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    unused = scopes([name for name in arrays if name not in match.used])
    return "\n  ".join(
        [
            f"{source}: read by {naming.title}, does not fill {len(problems)} of the network's "
            f"{len(modules.variables)} layers with weights:",
            *problems[:SHOWN],
            *more,
            f"left over in the file: {listed(unused)}",
            "Nothing was written. Give weights of this very network, or change the pipeline to the file's network.",
        ]
    )
