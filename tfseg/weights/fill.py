"""Assignment of the arrays of a weight file to the variables of a network.

If the array of a required variable is missing or does not fit, no variable is changed.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import keras
import numpy as np

from tfseg.errors import WeightsError
from tfseg.weights.folding import is_additive
from tfseg.weights.lookup import OperationWeights, weights_for
from tfseg.weights.modules import Modules, without_counter
from tfseg.weights.naming import Naming
from tfseg.weights.pixels import match_preprocessing
from tfseg.weights.readers import Arrays
from tfseg.weights.report import WeightsReport, listed, scopes
from tfseg.weights.schemes import naming_of
from tfseg.weights.stem import adapt_stem

NETWORK_ADVICE = "Nothing was written. Use weights of this network, or change the pipeline to match the file."
BACKBONE_ADVICE = "Nothing was changed. Use weights of this backbone, or start from random weights."
SHOWN = 8
"""Maximum number of problems that a message lists."""


@dataclass(frozen=True)
class Match:
    """Arrays of a file, matched with the layers of a network.

    Args:
        modules: Layers of the network that have weights.
        arrays: Arrays of the file by name.
        naming: Naming scheme of the file.
        found: Arrays for each layer, by its path. Those of images of other channels have been adapted.
        adapted: Paths of the layers whose kernels were adapted to the channels of the images.
    """

    modules: Modules
    arrays: Arrays
    naming: Naming
    found: dict[str, OperationWeights]
    adapted: tuple[str, ...]

    @classmethod
    def of(cls, model: keras.Model, arrays: Arrays) -> Self:
        """Returns the match of `arrays` with the layers of `model`, which is not changed."""
        modules, arrays = Modules.of(model), {without_counter(name): array for name, array in arrays.items()}
        naming = naming_of(arrays, modules)
        found = {name: weights_for(name, modules, naming, arrays) for name in modules.variables}
        match_preprocessing(model, found, arrays)
        return cls(modules, arrays, naming, found, adapt_stem(model, modules, found))

    def problem(self, name: str, needed: bool = False, classes: int | None = None) -> str | None:
        """Returns the reason why the layer `name` cannot be filled, or None."""
        variables, found = self.modules.variables[name], self.found[name]
        missing = [each for each in variables if each not in found.values]
        if missing and (needed or found.values):
            expected = " or ".join(self.naming.candidates(name, missing[0]))
            title = self.naming.title
            return f"not in the file; expected {expected}" if expected else f"it has no equivalent in {title}"
        for variable, value in found.values.items():
            ours, theirs = tuple(variables[variable].shape), tuple(value.shape)
            if ours != theirs:
                return _shape_problem(variable, ours, theirs, found.origins.get(variable, "the bias"), classes)
            if problem := value_problem(variable, value):
                return f"{found.origins.get(variable, 'the bias')} {problem}"
        return found.problem

    def unused(self, found: Iterable[OperationWeights]) -> tuple[str, ...]:
        """Returns the arrays that `found` does not use, except zero biases, which converters give to convolutions."""
        used = {name for each in found for name in each.used}
        rest = [(name, array) for name, array in self.arrays.items() if name not in used]
        return tuple(name for name, array in rest if not name.endswith("/bias") or np.any(array))

    def assign(
        self, filled: Mapping[str, OperationWeights], source: str, unused: tuple[str, ...], *, classes: str = ""
    ) -> WeightsReport:
        """Assigns the arrays of the layers in `filled` and returns the report, with a line about the classes."""
        for name, each in filled.items():
            for variable, value in each.values.items():
                self.modules.variables[name][variable].assign(value)
        return WeightsReport(
            source,
            self.naming.title,
            filled=tuple(filled),
            initial=tuple(name for name in self.modules.variables if name not in filled),
            unused=unused,
            adapted=tuple(name for name in self.adapted if name in filled),
            folded=tuple(name for name in filled if self._is_additive(name)),
            classes=classes,
        )

    def _is_additive(self, name: str) -> bool:
        """Returns whether the layer is now a BatchNorm that only adds a folded bias."""
        values = self.found[name].values
        if not {"moving_mean", "moving_variance"} <= values.keys():
            return False
        return is_additive(values["moving_mean"], values["moving_variance"], self.modules.epsilon(name))


def fill(
    model: keras.Model,
    arrays: Arrays,
    source: str,
    *,
    required: Collection[str] = (),
    whole: bool = True,
    classes: int | None = None,
) -> WeightsReport:
    """Assigns `arrays` to the variables of `model`.

    All layers of the model that are in `required` must be filled; if the model has none of them, all layers must be.

    Args:
        model: Functional model with the layer names of tfseg.
        arrays: Arrays by name, as `read_arrays` returns them.
        source: Name of the file in messages.
        required: Names of the layers that the file must fill, such as those of the backbone.
        whole: Boolean. If True, the other layers must be filled too if the file has arrays for any of them. If it has
            none, they keep their initial weights, as the decoder does when a classifier is imported. If False, other
            layers are filled if they match, and keep their initial weights if not, such as a score layer for other
            classes.
        classes: Number of classes of the network, for a message if the file has another number.

    Returns:
        A `WeightsReport` of the layers that were filled.

    Raises:
        WeightsError: If the arrays of a layer that must be filled are missing or do not fit. The model is then
            unchanged.
    """
    match = Match.of(model, arrays)
    needed = _needed(match.modules, match.found, required, whole)
    checked = {name: match.problem(name, name in needed, classes) for name in match.found}
    problems = {name: text for name, text in checked.items() if text is not None}
    filled = {name: each for name, each in match.found.items() if each.values and name not in problems}
    unused = match.unused(filled.values() if not whole else match.found.values())
    if lines := [f"{name}: {text}" for name, text in problems.items() if whole or name in needed]:
        advice = NETWORK_ADVICE if whole else BACKBONE_ADVICE
        raise WeightsError(_message(source, match.naming, len(match.modules.variables), lines, unused, advice))
    return match.assign(filled, source, unused)


def _needed(
    modules: Modules, found: Mapping[str, OperationWeights], required: Collection[str], whole: bool
) -> set[str]:
    """Returns the layers that must be filled."""
    inside = {name for name in modules.variables if name.partition("/")[0] in required}
    outside = modules.variables.keys() - inside
    more = not inside or (whole and any(found[name].values for name in outside))
    return inside | (outside if more else set())


def value_problem(variable: str, value: np.ndarray) -> str | None:
    """Returns the reason why the values are not valid weights, or None."""
    if not np.issubdtype(value.dtype, np.floating) and value.dtype not in (np.int32, np.int64):  # NumPy's default ints
        return f"has dtype {value.dtype}; weights must be floating-point numbers"
    with np.errstate(over="ignore"):
        if not np.isfinite(value.astype(np.float32)).all():
            return "contains values that are not finite in float32"
    return "contains negative variances" if variable == "moving_variance" and value.min() < 0 else None


def _shape_problem(name: str, ours: tuple[int, ...], theirs: tuple[int, ...], origin: str, classes: int | None) -> str:
    if ours[-1] == classes and ours[:-1] == theirs[:-1]:
        return f"the file has {theirs[-1]} classes ({origin}), but the pipeline has {classes} labels"
    return f"{origin} has shape {theirs} in the file, but {name} has shape {ours} in the network"


def _message(source: str, naming: Naming, total: int, problems: list[str], unused: tuple[str, ...], advice: str) -> str:
    more = [f"… and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return "\n  ".join(
        [
            f"{source}, read with {naming.title}, does not fill {len(problems)} of the {total} layers with weights "
            "of the network:",
            *problems[:SHOWN],
            *more,
            f"left over in the file: {listed(scopes(unused))}",
            advice,
        ]
    )
