"""Initialization of a network from the weights of another one, as far as they fit."""

import keras

from tfseg.errors import WeightsError
from tfseg.weights.classes import Classes
from tfseg.weights.fill import Match, value_problem
from tfseg.weights.lookup import OperationWeights
from tfseg.weights.readers import Arrays
from tfseg.weights.report import WeightsReport, listed, scopes


def initialize(model: keras.Model, arrays: Arrays, source: str, classes: Classes) -> WeightsReport:
    """Assigns `arrays` to the layers of `model` that they fit; other layers keep their initial weights.

    Weights of classes are matched by the names of the classes, in all layers with axes of one position per class.
    Layers that depend on the number of classes in another way are filled if the classes are the same, in the same
    order.

    Args:
        model: Functional model with the layer names of tfseg.
        arrays: Arrays by name, as `read_arrays` returns them.
        source: Name of the file in messages.
        classes: Classes of the network and of the file.

    Returns:
        A `WeightsReport`.

    Raises:
        WeightsError: If no layer can be filled, or the arrays contain values that are not finite. The model is then
            unchanged.
    """
    match = Match.of(model, arrays)
    for each in match.found.values():
        _check_values(source, each)
    fits = [name for name in match.found if _matches_classes(match, name, classes) and match.problem(name) is None]
    filled = {name: match.found[name] for name in fits if match.found[name].values}
    unused = match.unused(filled.values())
    if not filled:
        raise WeightsError(
            f"{source}, read with {match.naming.title}, fills no layer of the network, which has "
            f"{listed(tuple(match.modules.variables))}. Received: {listed(scopes(unused))}. Use the weights of a "
            "network with layers of the same names and shapes."
        )
    dependent = [name for name in classes.axes if name in match.found]
    line = classes.report(
        [name for name in dependent if name in filled], [name for name in dependent if name not in filled]
    )
    return match.assign(filled, source, unused, classes=line)


def _check_values(source: str, found: OperationWeights) -> None:
    for variable, value in found.values.items():
        if (problem := value_problem(variable, value)) is not None:
            origin = found.origins.get(variable, "a bias")
            raise WeightsError(f"{source}: {origin} {problem}. Use the weights of another training.")


def _matches_classes(match: Match, name: str, classes: Classes) -> bool:
    """Replaces the arrays that were found for a layer by arrays with the classes of the network, if possible."""
    axes = classes.axes.get(name)
    if axes is None or classes.theirs in (None, classes.ours):
        return True
    found, variables = match.found[name], match.modules.variables[name]
    for variable, along in axes.single.items():
        if variable in found.values:
            initial = keras.ops.convert_to_numpy(variables[variable])
            if (array := classes.placed(initial, found.values[variable], along)) is None:
                return False
            found.values[variable] = array
    return not axes.others and bool(classes.matched)
